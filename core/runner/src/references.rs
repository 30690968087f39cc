//! Which reference a model is judged by.

use std::collections::BTreeSet;

use tlbench_engine::{Bridge, RoundingReference};
use tlbench_sdk::{
    DType, Host, OpenRequest, PluginError, ReferenceModel, SourceInfo, Stimulus, Tier, TraceSource,
};

use crate::config::ReferenceChoice;
use crate::events::{Event, EventSink};
use crate::model::Model;
use crate::plugins::Registry;

/// The id of the bridge as its own reference.
pub(crate) const BRIDGE_ALONE: &str = "bridge";

/// A reference that is ready.
pub(crate) struct OpenReference {
    pub(crate) id: String,
    pub(crate) tier: Tier,
    pub(crate) source: Box<dyn TraceSource>,
    pub(crate) info: SourceInfo,
}

impl OpenReference {
    /// The inputs that it is asked about: its own, if it holds answers for those alone.
    pub(crate) fn stimuli<'a>(&'a self, default: &'a [Stimulus]) -> &'a [Stimulus] {
        if self.info.stimuli.is_empty() {
            default
        } else {
            &self.info.stimuli
        }
    }
}

/// A tier or reference that was asked for and is not to be had.
pub(crate) struct Unavailable {
    /// As it was asked for.
    pub(crate) asked: String,
    pub(crate) tier: Option<Tier>,
    /// Whether it was asked for by its own name, and not by its tier's.
    pub(crate) is_named: bool,
    /// Whether something is wrong, rather than merely not there.
    pub(crate) is_broken: bool,
    pub(crate) reason: String,
}

impl Unavailable {
    /// Whether something is left unverified: that a second opinion is missing counts only where it was named, or broken.
    pub(crate) fn counts(&self) -> bool {
        let is_second_opinion = self.tier == Some(Tier::HookedTransformer);
        self.is_broken || self.is_named || !is_second_opinion
    }
}

/// Looks for references of one model.
pub(crate) struct Search<'a> {
    pub(crate) model: &'a Model,
    /// The bridge, if it is on trial.
    pub(crate) subject: Option<&'a Bridge>,
    pub(crate) registry: &'a Registry,
    pub(crate) excluded: &'a BTreeSet<Tier>,
    pub(crate) sink: &'a dyn EventSink,
}

impl Search<'_> {
    /// Opens the first of `wanted` that is to be had, and says what stood before it and is not.
    pub(crate) fn best(
        &self,
        wanted: &[ReferenceChoice],
        request: impl Fn(&str) -> OpenRequest,
    ) -> (Option<OpenReference>, Vec<Unavailable>) {
        let mut unavailable = Vec::new();
        for choice in wanted {
            let (tier, ids) = self.resolve(choice);
            if tier.is_some_and(|tier| self.excluded.contains(&tier)) {
                continue;
            }
            let (mut reasons, mut is_broken) = (Vec::new(), false);
            for id in &ids {
                match self.open(id, &request) {
                    Ok(opened) => return (Some(opened), unavailable),
                    Err(error) => {
                        is_broken |= !error.kind.is_no_answer();
                        reasons.push(match choice {
                            ReferenceChoice::Tier(_) => format!("{id}: {error}"),
                            // Who failed is who was asked for.
                            ReferenceChoice::Id(_) => error.to_string(),
                        });
                    }
                }
            }
            let reason = if reasons.is_empty() {
                "no plugin offers one".to_owned()
            } else {
                reasons.join("; ")
            };
            unavailable.push(Unavailable {
                asked: choice.to_string(),
                tier,
                is_named: matches!(choice, ReferenceChoice::Id(_)),
                is_broken,
                reason,
            });
        }
        (None, unavailable)
    }

    /// The ids that `choice` stands for, best first.
    fn resolve(&self, choice: &ReferenceChoice) -> (Option<Tier>, Vec<String>) {
        match choice {
            ReferenceChoice::Tier(Tier::BridgeAlone) => {
                (Some(Tier::BridgeAlone), vec![BRIDGE_ALONE.to_owned()])
            }
            ReferenceChoice::Tier(tier) => {
                let infos = self
                    .registry
                    .references
                    .values()
                    .map(|offer| offer.object.info());
                let of_tier = infos.filter(|info| info.tier == *tier);
                let mut ranked: Vec<(u32, String)> = of_tier
                    .filter_map(|info| Some((info.rank?, info.id)))
                    .collect();
                ranked.sort();
                (Some(*tier), ranked.into_iter().map(|(_, id)| id).collect())
            }
            ReferenceChoice::Id(id) => {
                let tier = self
                    .registry
                    .references
                    .get(id)
                    .map(|offer| offer.object.info().tier);
                (tier, vec![id.clone()])
            }
        }
    }

    fn open(
        &self,
        id: &str,
        request: impl Fn(&str) -> OpenRequest,
    ) -> Result<OpenReference, PluginError> {
        let (tier, source): (Tier, Box<dyn TraceSource>) = if id == BRIDGE_ALONE {
            let open = |dtype| Bridge::open(&self.model.spec, self.model.folder.weights(), dtype);
            let rounded = match self.subject {
                Some(bridge) => bridge.clone(),
                None => open(request(id).dtype)?,
            };
            let source = RoundingReference::new(open(DType::F64)?, &rounded);
            (Tier::BridgeAlone, Box::new(source))
        } else {
            let known = || {
                self.registry
                    .references
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let offer = self.registry.references.get(id).ok_or_else(|| {
                PluginError::invalid_input(format!(
                    "no plugin offers a reference of that name; there are {}",
                    known()
                ))
            })?;
            let host = ProgressHost(self.sink);
            (
                offer.object.info().tier,
                offer.object.open(&request(id), &host)?,
            )
        };
        let info = source.info();
        Ok(OpenReference {
            id: id.to_owned(),
            tier,
            source,
            info,
        })
    }
}

pub(crate) struct ProgressHost<'a>(pub(crate) &'a dyn EventSink);

impl Host for ProgressHost<'_> {
    fn progress(&self, message: &str) {
        self.0.emit(Event::Progress {
            message: message.to_owned(),
        });
    }
}
