//! Who is on trial.

use tlbench_engine::Bridge;
use tlbench_sdk::{Host, OpenRequest, ReferenceModel};

use super::Session;
use crate::model::{Model, ModelError};
use crate::subject::{BRIDGE, ExactSubject, Subject};

impl Session<'_> {
    pub(super) fn subject_name(&self) -> &str {
        self.entry.subject.as_deref().unwrap_or(BRIDGE)
    }

    /// The reference that is on trial, if it is not the bridge.
    fn other_subject(&self) -> Result<Option<&dyn ReferenceModel>, ModelError> {
        let name = self.subject_name();
        if name == BRIDGE {
            return Ok(None);
        }
        let known = || {
            let references = self.registry.references.keys().map(String::as_str);
            let all: Vec<&str> = std::iter::once(BRIDGE).chain(references).collect();
            all.join(", ")
        };
        match self.registry.references.get(name) {
            Some(offer) => Ok(Some(&offer.object)),
            None => Err(ModelError::UnknownSubject {
                known: known(),
                found: name.to_owned(),
            }),
        }
    }

    pub(super) fn open_subject(
        &self,
        model: &Model,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Subject, ModelError> {
        let Some(other) = self.other_subject()? else {
            let opened = Bridge::open(&model.spec, model.folder.weights(), self.entry.dtype);
            return Ok(Subject::Bridge(opened.map_err(|error| {
                ModelError::Engine {
                    folder: model.folder.path().to_owned(),
                    error,
                }
            })?));
        };
        let opened = other.open(request, host);
        let opened = opened.map_err(|error| ModelError::Subject {
            name: self.subject_name().to_owned(),
            error,
        })?;
        Ok(Subject::Other(opened))
    }

    pub(super) fn exact_subject<'s>(
        &'s self,
        model: &'s Model,
        request: OpenRequest,
        host: &'s dyn Host,
    ) -> ExactSubject<'s> {
        match self.other_subject() {
            Ok(Some(other)) => ExactSubject::other(other, request, host),
            Ok(None) | Err(_) => ExactSubject::bridge(&model.spec, model.folder.weights()),
        }
    }
}
