//! Who is on trial.

use std::collections::BTreeMap;

use tlbench_engine::Bridge;
use tlbench_sdk::{BRIDGE, Host, OpenRequest, ReferenceModel, TraceSource};

use super::Session;
use crate::answers::{Answers, Parties};
use crate::model::{Model, ModelError};
use crate::references::OpenReference;
use crate::subject::{ExactSubject, Subject};

/// The one that is on trial, before it is opened.
#[derive(Clone, Copy)]
pub(super) enum OnTrial<'a> {
    Bridge,
    /// A reference in that role.
    Other {
        name: &'a str,
        reference: &'a dyn ReferenceModel,
    },
}

/// All that checks are judged with.
pub(super) struct Trial<'a> {
    pub(super) model: &'a Model,
    pub(super) reference: &'a OpenReference,
    /// What the reference answers about weights that are processed or not.
    pub(super) truth: &'a dyn TraceSource,
    pub(super) subject: &'a Subject,
    pub(super) exact_subject: &'a dyn TraceSource,
    /// Elements of each parameter.
    pub(super) parameters: &'a BTreeMap<String, usize>,
}

impl<'a> Trial<'a> {
    /// Nothing asked yet.
    pub(super) fn answers(&self) -> Answers<'a> {
        let parties = Parties {
            subject: self.subject.source(),
            exact_subject: self.exact_subject,
            reference: self.truth,
        };
        Answers::new(parties, self.parameters.clone())
    }
}

impl Session<'_> {
    pub(super) fn subject_name(&self) -> &str {
        self.entry.subject.as_deref().unwrap_or(BRIDGE)
    }

    /// Who bears the name of the subject, if that one can be on trial.
    pub(super) fn on_trial(&self) -> Result<OnTrial<'_>, ModelError> {
        let name = self.subject_name();
        if name == BRIDGE {
            return Ok(OnTrial::Bridge);
        }
        let Some(offer) = self.registry.references.get(name) else {
            return Err(ModelError::UnknownSubject {
                known: self.subjects(),
                found: name.to_owned(),
            });
        };
        if !offer.object.info().can_be_subject {
            return Err(ModelError::NotASubject {
                known: self.subjects(),
                found: name.to_owned(),
            });
        }
        Ok(OnTrial::Other {
            name,
            reference: &offer.object,
        })
    }

    /// All who can be on trial.
    fn subjects(&self) -> String {
        let references = self.registry.references.iter();
        let able = references.filter(|(_, offer)| offer.object.info().can_be_subject);
        let names: Vec<&str> = std::iter::once(BRIDGE)
            .chain(able.map(|(name, _)| name.as_str()))
            .collect();
        names.join(", ")
    }

    pub(super) fn open_subject(
        &self,
        on_trial: OnTrial<'_>,
        model: &Model,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Subject, ModelError> {
        match on_trial {
            OnTrial::Bridge => Bridge::open(&model.spec, model.folder.weights(), self.entry.dtype)
                .map(Subject::Bridge)
                .map_err(|error| ModelError::Engine {
                    folder: model.folder.path().to_owned(),
                    error,
                }),
            OnTrial::Other { name, reference } => reference
                .open(request, host)
                .map(Subject::Other)
                .map_err(|error| ModelError::Subject {
                    name: name.to_owned(),
                    error,
                }),
        }
    }
}

impl<'s> OnTrial<'s> {
    /// The same in f64.
    pub(super) fn exact(
        self,
        model: &'s Model,
        request: OpenRequest,
        host: &'s dyn Host,
    ) -> ExactSubject<'s> {
        match self {
            Self::Bridge => ExactSubject::bridge(&model.spec, model.folder.weights()),
            Self::Other { reference, .. } => ExactSubject::other(reference, request, host),
        }
    }
}
