//! The bridge with a mistake, to be put on trial: `[reference.faulty-subject] fault = "eps"`.
//!
//! The mistake is in the subject alone. One that an adapter makes is in every reference that the same spec drives.

mod subject;

use faults::{FAULTS, Fault};
use serde_json::{Map, Value};
use tlbench_sdk::{
    Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, Role, Tier, TraceSource,
};

use crate::subject::Subject;

tlbench_sdk::plugin! {
    references: [FaultySubject],
}

struct FaultySubject;

impl ReferenceModel for FaultySubject {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "faulty-subject".into(),
            description: "the bridge with a mistake".into(),
            tier: Tier::BridgeAlone,
            rank: None,
            can_be_subject: true,
        }
    }

    fn open(
        &self,
        request: &OpenRequest,
        _: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        if request.role == Role::Reference {
            return Err(PluginError::unsupported("a mistake is no reference"));
        }
        Ok(Box::new(Subject::open(request, fault(&request.options)?)?))
    }
}

/// The mistake that the config names.
fn fault(options: &Map<String, Value>) -> Result<&'static Fault, PluginError> {
    let expected = || {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.id).collect();
        format!("`fault`: expected one of {}", names.join(", "))
    };
    match options.get("fault").and_then(Value::as_str) {
        Some(id) => Fault::named(id)
            .ok_or_else(|| PluginError::invalid_input(format!("{}, found \"{id}\"", expected()))),
        None => Err(PluginError::invalid_input(format!(
            "{}, found none",
            expected()
        ))),
    }
}
