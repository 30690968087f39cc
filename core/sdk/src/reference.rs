//! Whatever answers traces.
//!
//! Subject and reference are roles, not types: the engine's bridge, a recording, live HuggingFace in Python and other
//! ports all end up as a [`TraceSource`].

mod fired;
mod stimulus;

pub use fired::{FiredHook, Firings};
pub use stimulus::StimulusError;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::benchmark::Role;
use crate::error::PluginError;
use crate::hooks::HookPoint;
use crate::spec::ModelSpec;
use crate::tensor::{DType, TensorMap};
use crate::trace::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, Quantity, Trace, TraceRequest};

/// Something that can answer the same questions as the subject, independently of it.
pub trait ReferenceModel: Send + Sync {
    /// What it is; no work is done for it.
    fn info(&self) -> ReferenceInfo;

    /// Makes it ready to answer for one model.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it cannot answer for this model or on this machine; the
    /// next reference is asked then.
    fn open(
        &self,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError>;
}

/// A model that is ready to answer.
pub trait TraceSource: Send + Sync {
    /// What can be asked.
    fn info(&self) -> SourceInfo;

    /// Answers one request. What was captured is in the trace; a quantity that cannot be shown is an error.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the question does not apply.
    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError>;
}

/// What the host offers to a plugin at work.
pub trait Host: Send + Sync {
    /// Tells what is being done, for the progress display.
    fn progress(&self, message: &str);
}

/// What a [`ReferenceModel`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceInfo {
    /// Its name in configs and check ids (`hf-recorded`).
    pub id: String,
    /// One line.
    pub description: String,
    /// What its word is worth.
    pub tier: Tier,
    /// Among references of one tier, the lowest is asked first. `None`: only when it is named.
    pub rank: Option<u32>,
    /// Whether it can be the model on trial as well ([`OpenRequest::role`]). One that answers with the truth alone
    /// cannot.
    #[serde(default)]
    pub can_be_subject: bool,
}

/// What a comparison is worth, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// HuggingFace transformers: verifies adapter and engine.
    HuggingFace,
    /// A second implementation driven by the same spec: verifies the engine, not the adapter.
    HookedTransformer,
    /// The bridge against itself in f64: measures rounding alone.
    BridgeAlone,
}

impl Tier {
    /// 1 to 3.
    pub const fn number(self) -> u8 {
        match self {
            Self::HuggingFace => 1,
            Self::HookedTransformer => 2,
            Self::BridgeAlone => 3,
        }
    }

    /// How it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HuggingFace => "HuggingFace",
            Self::HookedTransformer => "HookedTransformer",
            Self::BridgeAlone => "bridge alone",
        }
    }
}

/// What a reference needs to get ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The spec that the adapter made. HF references must not read it: they would repeat the adapter's mistakes.
    pub spec: ModelSpec,
    /// The hook points, with where HF shows them.
    pub hooks: Vec<HookPoint>,
    /// What it is to be: a reference, which answers with the truth and its floors, or the model on trial, which answers
    /// with what it computes in `dtype`.
    #[serde(default)]
    pub role: Role,
    /// The precision that is on trial.
    pub dtype: DType,
    /// Digest of `config.json`.
    pub config_digest: String,
    /// Digest of the weights.
    pub weights_digest: String,
    /// A recording named by the user.
    pub recording: Option<PathBuf>,
    /// What will be asked, so that a reference can answer all of it in one go and know its own rounding error.
    pub stimuli: Vec<Stimulus>,
    /// Settings of this reference from the config.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// What a [`TraceSource`] is and can answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// The questions that it answers, of those that it was opened with or of its own; empty: it answers any.
    pub stimuli: Vec<Stimulus>,
    /// Whether it processes weights itself ([`TraceRequest::processing`]). Where not, what it answers about the weights
    /// as they are stored is mapped to what processed ones have to give.
    #[serde(default)]
    pub processes_weights: bool,
    /// Where its answers come from, for reports (`transformers` -> `5.23.0`).
    pub provenance: BTreeMap<String, String>,
    /// What fires there, if it is an implementation of its own that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firings: Option<Firings>,
}

/// A question with a name: an input, what is done with it, and all that is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stimulus {
    /// Its name in check ids (`text`, `left_padded`).
    pub id: String,
    /// The question.
    pub request: TraceRequest,
}

impl Stimulus {
    /// Rows of tokens, padded to the longest; position ids are `max(cumsum(mask) - 1, 0)`.
    ///
    /// # Errors
    /// If there is no token.
    pub fn from_rows(
        id: &str,
        rows: &[Vec<i64>],
        padding: Padding,
        pad_token: i64,
    ) -> Result<Self, PluginError> {
        use crate::tensor::Tensor;

        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        if length == 0 {
            return Err(PluginError::invalid_input(format!(
                "input `{id}` has no token"
            )));
        }
        let (mut ids, mut mask, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let pad = length - row.len();
            let before = if padding == Padding::Left { pad } else { 0 };
            let mut seen = 0;
            for place in 0..length {
                let token = place.checked_sub(before).and_then(|index| row.get(index));
                ids.push(token.copied().unwrap_or(pad_token));
                mask.push(i64::from(token.is_some()));
                seen += i64::from(token.is_some());
                positions.push((seen - 1).max(0));
            }
        }
        let shape = [rows.len(), length];
        let inputs = [
            (INPUT_IDS, ids),
            (ATTENTION_MASK, mask),
            (POSITION_IDS, positions),
        ]
        .into_iter()
        .map(|(name, values)| Ok((name.to_owned(), Tensor::from_vec(values, &shape)?)))
        .collect::<Result<TensorMap, PluginError>>()?;
        Ok(Self {
            id: id.to_owned(),
            request: TraceRequest::new(inputs, Vec::new()),
        })
    }

    /// The same with all of `quantities` looked at.
    #[must_use]
    pub fn showing(mut self, quantities: impl IntoIterator<Item = Quantity>) -> Self {
        self.request.capture = quantities.into_iter().collect();
        self
    }

    /// Whether `quantity` is looked at.
    pub fn shows(&self, quantity: &Quantity) -> bool {
        self.request.capture.contains(quantity)
    }
}

/// On which side shorter rows are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Before the tokens.
    Left,
    /// After the tokens.
    Right,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_padding_starts_positions_at_the_first_token() {
        let stimulus =
            Stimulus::from_rows("x", &[vec![5, 6, 7], vec![8]], Padding::Left, 0).unwrap();
        assert_eq!(stimulus.request.shape(), [2, 3]);
        assert_eq!(
            stimulus.request.inputs[INPUT_IDS]
                .as_slice::<i64>()
                .unwrap(),
            [5, 6, 7, 0, 0, 8]
        );
        assert_eq!(
            stimulus.request.inputs[ATTENTION_MASK]
                .as_slice::<i64>()
                .unwrap(),
            [1, 1, 1, 0, 0, 1]
        );
        assert_eq!(
            stimulus.request.inputs[POSITION_IDS]
                .as_slice::<i64>()
                .unwrap(),
            [0, 1, 2, 0, 0, 0]
        );
    }

    #[test]
    fn right_padding_keeps_the_last_position() {
        let stimulus =
            Stimulus::from_rows("x", &[vec![5, 6, 7], vec![8]], Padding::Right, 9).unwrap();
        assert_eq!(
            stimulus.request.inputs[INPUT_IDS]
                .as_slice::<i64>()
                .unwrap(),
            [5, 6, 7, 8, 9, 9]
        );
        assert_eq!(
            stimulus.request.inputs[POSITION_IDS]
                .as_slice::<i64>()
                .unwrap(),
            [0, 1, 2, 0, 0, 0]
        );
    }

    #[test]
    fn an_input_without_tokens_is_refused() {
        let error = Stimulus::from_rows("empty", &[vec![]], Padding::Left, 0).unwrap_err();
        assert_eq!(error.to_string(), "input `empty` has no token");
    }
}
