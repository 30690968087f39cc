//! The zoo: what the catalogue holds, as the host asks for it.

use tlbench_sdk::{
    Fault, FaultEdit, FaultZoo, FaultZooInfo, Feature, ModelSpec, PluginError, Purpose, Repair,
    Runs, Symptom,
};

use crate::catalogue::CATALOGUE;
use crate::repairs::repairs;

/// All mistakes of this crate.
pub(crate) struct Zoo;

/// A mistake, and what makes it.
pub(crate) struct Entry {
    pub(crate) id: &'static str,
    pub(crate) feature: Feature,
    /// Goes on from "the model has".
    pub(crate) description: &'static str,
    /// The input that shows it; empty: any.
    pub(crate) shown_by: &'static str,
    pub(crate) made_in: &'static [&'static str],
    pub(crate) purpose: Purpose,
    pub(crate) make: Make,
}

/// What makes a mistake.
pub(crate) enum Make {
    /// An edit of the spec. Where it changes nothing, there is no place for the mistake.
    Spec(Runs, fn(&mut ModelSpec)),
    /// Something else; nothing: there is no place for it.
    Edits(fn(&ModelSpec) -> Vec<FaultEdit>),
}

impl Entry {
    pub(crate) const fn new(
        feature: Feature,
        id: &'static str,
        description: &'static str,
        make: Make,
    ) -> Self {
        Self {
            id,
            feature,
            description,
            shown_by: "",
            made_in: &[],
            purpose: Purpose::Suite,
            make,
        }
    }

    pub(crate) const fn shown_by(self, shown_by: &'static str) -> Self {
        Self { shown_by, ..self }
    }

    pub(crate) const fn made_in(self, made_in: &'static [&'static str]) -> Self {
        Self { made_in, ..self }
    }

    pub(crate) const fn for_diagnosis(self) -> Self {
        Self {
            purpose: Purpose::Diagnosis,
            ..self
        }
    }

    fn fault(&self) -> Fault {
        Fault {
            id: self.id.to_owned(),
            feature: self.feature,
            description: self.description.to_owned(),
            shown_by: self.shown_by.to_owned(),
            made_in: self.made_in.iter().map(|&at| at.to_owned()).collect(),
            purpose: self.purpose,
        }
    }

    pub(crate) fn edits(&self, spec: &ModelSpec) -> Vec<FaultEdit> {
        match self.make {
            Make::Spec(runs, edit) => {
                let mut edited = Box::new(spec.clone());
                edit(&mut edited);
                if *edited == *spec {
                    return Vec::new();
                }
                vec![FaultEdit::Spec { runs, spec: edited }]
            }
            Make::Edits(edits) => edits(spec),
        }
    }
}

/// All entries, feature by feature.
pub(crate) fn entries() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().copied().flatten()
}

impl FaultZoo for Zoo {
    fn info(&self) -> FaultZooInfo {
        FaultZooInfo {
            id: "ports".into(),
            description: "mistakes of real ports".into(),
            faults: entries().map(Entry::fault).collect(),
        }
    }

    fn edits(&self, fault: &str, spec: &ModelSpec) -> Result<Vec<FaultEdit>, PluginError> {
        let entry = entries().find(|entry| entry.id == fault);
        let entry = entry.ok_or_else(|| {
            PluginError::invalid_input(format!("fault `{fault}`: there is none of that name"))
        })?;
        Ok(entry.edits(spec))
    }

    fn repairs(&self, symptom: &Symptom) -> Result<Vec<Repair>, PluginError> {
        Ok(repairs(symptom))
    }
}
