//! Where in a tensor an error lies, in words: in which rows, positions, heads and channels, and in which blocks.
//!
//! A slice of the tensor is wrong or right by the same floor as the whole, through the gate for few rows. Nothing is said
//! where a slice lies between the two, nor where all are wrong.

mod axis;
mod blocks;
mod profile;
mod wording;

#[cfg(test)]
mod tests;

pub(super) use blocks::failing_blocks;
pub(super) use profile::Compared;

use crate::benchmark::ModelInfo;
use crate::hooks::{Dim, layer_of};
use crate::spec::LayerSpec;
use crate::trace::Quantity;

use axis::Axis;
use profile::Profile;

/// What tells the slices of a value that are wrong from those that are right, in a few words each.
pub(super) fn pattern(
    model: &ModelInfo,
    quantity: &Quantity,
    compared: Compared<'_>,
    floor: f64,
) -> Vec<String> {
    let Some(dims) = dims(model, quantity) else {
        return Vec::new();
    };
    if dims.len() != compared.truth.shape().len() {
        return Vec::new();
    }
    let subject = Subject {
        layer: layer(model, quantity),
        is_rotated: is_rotated(quantity),
    };
    let axes = Axis::all(&dims, compared.truth.shape());
    let profiles = Profile::of_each(&compared, &axes);
    axes.iter()
        .zip(&profiles)
        .filter_map(|(axis, profile)| wording::phrase(axis, profile, floor, &subject))
        .collect()
}

/// What the words may refer to.
struct Subject<'a> {
    /// The block that the value is in.
    layer: Option<&'a LayerSpec>,
    /// Whether it is queries or keys behind a rotation.
    is_rotated: bool,
}

fn dims(model: &ModelInfo, quantity: &Quantity) -> Option<Vec<Dim>> {
    match quantity {
        Quantity::Hook(name) | Quantity::HookGradient(name) => {
            let mut hooks = model.hooks.iter();
            Some(hooks.find(|hook| hook.name == *name)?.shape.clone())
        }
        Quantity::Logits | Quantity::LogProbs => {
            let d_vocab_out = model.spec.unembed.d_vocab_out;
            Some(vec![
                Dim::Batch,
                Dim::Pos,
                Dim::sized("d_vocab_out", d_vocab_out),
            ])
        }
        Quantity::LossPerToken => Some(vec![Dim::Batch, Dim::Pos]),
        Quantity::Loss
        | Quantity::Generated
        | Quantity::ParameterGradient(_)
        | Quantity::Weight(_) => None,
    }
}

fn layer<'a>(model: &'a ModelInfo, quantity: &Quantity) -> Option<&'a LayerSpec> {
    match quantity {
        Quantity::Hook(name) | Quantity::HookGradient(name) => {
            model.spec.layers.get(layer_of(name)?)
        }
        _ => None,
    }
}

fn is_rotated(quantity: &Quantity) -> bool {
    let names = ["hook_rot_q", "hook_rot_k"];
    let hook = quantity.as_hook();
    hook.is_some_and(|hook| names.iter().any(|name| hook.ends_with(name)))
}
