//! Why a component differs: repairs of the subject's spec are tried until one brings it back to what the reference gives.

mod numbers;
mod patient;
mod place;
mod search;

use serde::Serialize;
use tlbench_sdk::host::ForeignFaultZoo;
use tlbench_sdk::{
    FaultZoo as _, ModelSpec, PluginError, Remedy, Repair, Symptom, float, layer_of,
};

use crate::plugins::Offer;

pub(crate) use self::patient::{Case, Patient, tensors_not_taken};
pub(crate) use self::place::{first_changed, is_same_component};

/// The most repairs that are told.
const TOLD: usize = 3;

/// What was tried on the component that differs first, and what fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The model.
    pub model: String,
    /// The input on which it was tried.
    pub input: String,
    /// The component that differs first.
    pub component: String,
    /// Where it does.
    pub hook: String,
    /// By how much, on true inputs.
    #[serde(with = "float")]
    pub ratio: f64,
    /// How many other specs were tried.
    pub tried: usize,
    /// Those that bring the component back, the best one first.
    pub explanations: Vec<Explanation>,
}

/// One repair that fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The mistake, as its zoo calls it.
    pub fault: String,
    /// What was taken for what.
    pub finding: String,
    /// The first component that it changes; the hook may show what is made before it.
    pub component: String,
    /// Where to look.
    pub look_at: String,
    /// The largest error ratio of the component with the repair, on true inputs.
    #[serde(with = "float")]
    pub ratio: f64,
    /// The largest one of the whole model then.
    #[serde(with = "float")]
    pub worst: f64,
    /// The spec with the repair.
    #[serde(skip)]
    pub(crate) spec: ModelSpec,
}

/// Finds out what is wrong with `patient`. `None` if no component differs on true inputs.
///
/// # Errors
/// If the reference or the engine cannot answer.
pub(crate) fn diagnose<'z>(
    patient: &Patient<'_>,
    zoos: impl IntoIterator<Item = &'z Offer<ForeignFaultZoo>>,
) -> Result<Option<Diagnosis>, PluginError> {
    let Some(case) = patient.case()? else {
        return Ok(None);
    };
    let symptom = Symptom {
        spec: patient.spec.clone(),
        component: case.part.clone(),
        hook: case.hook.clone(),
        tensors_not_taken: tensors_not_taken(patient.spec, patient.weights),
    };
    let mut repairs = Vec::new();
    for zoo in zoos {
        repairs.extend(zoo.object.repairs(&symptom)?);
    }
    let mut tried = 0;
    let mut explanations = fixed(&case, &repairs, &mut tried);
    if explanations.is_empty() {
        explanations = numbers::explanations(&case, &repairs, &mut tried);
    }
    for explanation in &mut explanations {
        settle(patient, &case.component, explanation);
    }
    explanations.sort_by(|a, b| a.worst.total_cmp(&b.worst));
    explanations.truncate(TOLD);
    Ok(Some(Diagnosis {
        model: patient.info.name.clone(),
        input: case.input.clone(),
        component: case.component.clone(),
        hook: case.hook.clone(),
        ratio: case.ratio,
        tried,
        explanations,
    }))
}

/// Tells where the repair is made, and how the whole model fares with it. What is wrong with one component may be right with
/// others like it: they are left as they are where that is better.
fn settle(patient: &Patient<'_>, component: &str, explanation: &mut Explanation) {
    explanation.worst = patient.worst(&explanation.spec);
    if let Some(layer) = layer_of(component)
        && explanation.worst > explanation.ratio
        && let Some(repaired) = explanation.spec.layers.get(layer)
    {
        let mut alone = patient.spec.clone();
        alone.layers[layer] = repaired.clone();
        let worst = patient.worst(&alone);
        if worst < explanation.worst {
            (explanation.worst, explanation.spec) = (worst, alone);
        }
    }
    let changed = first_changed(patient.spec, &explanation.spec);
    explanation.component = changed.unwrap_or_else(|| component.to_owned());
}

/// Repairs that say all.
fn fixed(case: &Case<'_>, repairs: &[Repair], tried: &mut usize) -> Vec<Explanation> {
    let mut explanations: Vec<Explanation> = Vec::new();
    for repair in repairs {
        let Remedy::Spec { finding, spec } = &repair.remedy else {
            continue;
        };
        *tried += 1;
        let is_known = explanations.iter().any(|known| known.spec == **spec);
        if let Some(ratio) = case.cured(spec).filter(|_| !is_known) {
            explanations.push(Explanation {
                fault: repair.fault.clone(),
                finding: finding.clone(),
                look_at: repair.look_at.clone(),
                component: case.component.clone(),
                ratio,
                worst: ratio,
                spec: (**spec).clone(),
            });
        }
    }
    explanations
}
