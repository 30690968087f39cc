//! What may be wrong with a component that computes something else than the reference: other values of it, taken from
//! what other models and other layers have, and from what the checkpoint holds and nobody takes.

mod attention;
mod ends;
mod layer;
mod mlp;
mod norm;
mod numbers;
mod places;
mod rotary;
mod said;
mod tensors;
mod variant;

#[cfg(test)]
mod tests;

use tlbench_sdk::{Remedy, Repair, Symptom};

use self::attention::Attentions;
use self::ends::{Embedding, FinalNorm, Unembedding};
use self::layer::Layers;
use self::mlp::Mlps;
use self::norm::Norms;
use self::numbers::numbers;
use self::variant::repairs_of;

/// All that may be wrong there. What cannot be a spec is left out.
pub(crate) fn repairs(symptom: &Symptom) -> Vec<Repair> {
    let mut repairs = fixed(symptom);
    repairs.retain(|repair| match &repair.remedy {
        Remedy::Spec { spec, .. } => spec.check().is_ok(),
        Remedy::Number { .. } => true,
    });
    repairs.extend(numbers(symptom, &symptom.component));
    repairs
}

/// The component itself first, and then what leads to it: a hook shows a mistake that is made between it and the last one.
fn fixed(symptom: &Symptom) -> Vec<Repair> {
    let component = symptom.component.as_str();
    let norms = |name: &str| repairs_of(&Norms, symptom, name);
    let Some(rest) = component.strip_prefix("blocks.") else {
        let mut list = norms(component);
        if matches!(component, "ln_final" | "unembed") {
            list.extend(repairs_of(&Unembedding, symptom, "unembed"));
            list.extend(repairs_of(&FinalNorm, symptom, "ln_final"));
            list.extend(norms("ln_final"));
        } else {
            list.extend(repairs_of(&Embedding, symptom, "embed"));
            list.extend(norms("embed.ln"));
        }
        return list;
    };
    let (index, kind) = rest.split_once('.').unwrap_or((rest, ""));
    let block = format!("blocks.{index}");
    let mut list = norms(component);
    let is_about = |part: &str| kind.is_empty() || kind.starts_with(part);
    if is_about("attn") {
        list.extend(repairs_of(&Attentions, symptom, &format!("{block}.attn")));
        for norm in ["attn.q_norm", "ln1"] {
            list.extend(norms(&format!("{block}.{norm}")));
        }
    }
    if is_about("mlp") {
        list.extend(repairs_of(&Mlps, symptom, &format!("{block}.mlp")));
        list.extend(norms(&format!("{block}.ln2")));
    }
    list.extend(repairs_of(&Layers, symptom, &block));
    list
}
