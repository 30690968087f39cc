//! Why a component differs: repairs of the subject's spec are tried until one brings it back to what the reference gives.

mod effort;
mod likeness;
mod numbers;
mod patient;
mod place;
mod search;

use serde::Serialize;
use tlbench_sdk::host::ForeignFaultZoo;
use tlbench_sdk::{
    FaultZoo as _, ModelSpec, PluginError, Remedy, Repair, Symptom, float, is_large,
};

use crate::plugins::Offer;

use self::effort::Effort;
pub(crate) use self::likeness::{Likened, likeness};
pub use self::likeness::{Likeness, Shared};
pub(crate) use self::patient::{Case, Patient, tensors_not_taken};
pub(crate) use self::place::{first_changed, is_same_component};

/// The most repairs that are told.
const TOLD: usize = 3;

/// By how many times less a component has to be wrong with a repair that does not cure it, for that to be worth telling.
const WORTH_TELLING: f64 = 10.0;

/// What was tried on the component that differs first, and what fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The model.
    pub model: String,
    /// The input on which it was tried.
    pub input: String,
    /// The component at fault.
    pub component: String,
    /// Where it shows first.
    pub hook: String,
    /// By how much, on true inputs.
    #[serde(with = "float")]
    pub ratio: f64,
    /// How many other specs were tried.
    pub tried: usize,
    /// How many repairs were not, as the model is large.
    pub left_out: usize,
    /// Those that bring the component back, the best one first.
    pub explanations: Vec<Explanation>,
    /// Of those that do not, the one that brings it nearest, where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
}

/// A repair that does not fit, and yet changes much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// What was taken for what.
    pub finding: String,
    /// The largest error ratio of the component on true inputs, as it is.
    #[serde(with = "float")]
    pub from: f64,
    /// The same with the repair.
    #[serde(with = "float")]
    pub to: f64,
    /// Where to look.
    pub look_at: String,
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

/// What was found by trying.
struct Trials<'a> {
    case: &'a Case<'a>,
    effort: Effort,
    explanations: Vec<Explanation>,
    nearest: Option<Nearest>,
}

/// Finds out what is wrong with the component of `case`.
///
/// # Errors
/// If a zoo does not tell.
pub(crate) fn diagnose<'z>(
    case: &Case<'_>,
    zoos: impl IntoIterator<Item = &'z Offer<ForeignFaultZoo>>,
) -> Result<Diagnosis, PluginError> {
    let patient = case.patient();
    let symptom = Symptom {
        spec: patient.spec.clone(),
        component: case.part.clone(),
        hook: case.hook.clone(),
        tensors_not_taken: tensors_not_taken(patient.spec, patient.weights),
        config: patient.config.clone(),
    };
    let mut repairs = Vec::new();
    for zoo in zoos {
        repairs.extend(zoo.object.repairs(&symptom)?);
    }
    let mut trials = Trials {
        case,
        effort: Effort::for_a_model(is_large(&patient.info.parameters)),
        explanations: Vec::new(),
        nearest: None,
    };
    trials.fixed(&repairs);
    if trials.explanations.is_empty() {
        numbers::search(&mut trials, &repairs);
    }
    let Trials {
        effort,
        mut explanations,
        nearest,
        ..
    } = trials;
    for explanation in &mut explanations {
        settle(case, explanation);
    }
    explanations.sort_by(|a, b| a.worst.total_cmp(&b.worst));
    explanations.truncate(TOLD);
    let nearest = nearest
        .filter(|nearest| explanations.is_empty() && nearest.to * WORTH_TELLING <= nearest.from);
    Ok(Diagnosis {
        model: patient.info.name.clone(),
        input: case.input.clone(),
        component: case.component.clone(),
        hook: case.hook.clone(),
        ratio: case.ratio,
        tried: effort.tried(),
        left_out: effort.left_out(),
        explanations,
        nearest,
    })
}

/// Tells where the repair is made, and how the whole model fares with it. What is wrong with one component may be right with
/// others like it: those that are right are left as they are where that is better.
fn settle(case: &Case<'_>, explanation: &mut Explanation) {
    let patient = case.patient();
    explanation.worst = patient.worst(&explanation.spec);
    if explanation.worst > explanation.ratio {
        let mut in_wrong_ones = patient.spec.clone();
        let layers = in_wrong_ones
            .layers
            .iter_mut()
            .zip(&explanation.spec.layers);
        for (index, (layer, repaired)) in layers.enumerate() {
            if case.wrong_layers.contains(&index) {
                layer.clone_from(repaired);
            }
        }
        let worst = patient.worst(&in_wrong_ones);
        if worst < explanation.worst {
            (explanation.worst, explanation.spec) = (worst, in_wrong_ones);
        }
    }
    let changed = first_changed(patient.spec, &explanation.spec);
    explanation.component = changed.unwrap_or_else(|| case.component.clone());
}

impl Trials<'_> {
    /// Repairs that say all.
    fn fixed(&mut self, repairs: &[Repair]) {
        for repair in repairs {
            let Remedy::Spec { finding, spec } = &repair.remedy else {
                continue;
            };
            let is_known = self.explanations.iter().any(|known| known.spec == **spec);
            if !is_known && self.effort.allows_one_more() {
                self.effort.spend();
                self.try_on(repair, finding.clone(), spec);
            }
        }
    }

    /// Runs the component of `spec`, and keeps what came of it. Whether it is right then.
    fn try_on(&mut self, repair: &Repair, finding: String, spec: &ModelSpec) -> bool {
        let Some(tried) = self.case.tried(spec) else {
            return false;
        };
        if tried.is_cured {
            self.explanations.push(Explanation {
                fault: repair.fault.clone(),
                finding,
                look_at: repair.look_at.clone(),
                component: self.case.component.clone(),
                ratio: tried.worst,
                worst: tried.worst,
                spec: spec.clone(),
            });
        } else if self
            .nearest
            .as_ref()
            .is_none_or(|known| tried.worst < known.to)
        {
            self.nearest = Some(Nearest {
                finding,
                from: self.case.worst,
                to: tried.worst,
                look_at: repair.look_at.clone(),
            });
        }
        tried.is_cured
    }
}

/// The spec of a small GPT-2.
#[cfg(test)]
pub(crate) fn seed_spec() -> ModelSpec {
    let seed = include_str!("../../fuzz/seeds/boundary/symptom");
    let (_, json) = seed.split_once("\n\n").unwrap();
    let symptom: Symptom = serde_json::from_str(json).unwrap();
    symptom.spec
}
