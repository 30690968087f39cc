//! What reads a norm through a product with a weight: what the norm gives is shown nowhere, but by them.

use crate::benchmark::{ModelInfo, PlannedRequest};
use crate::hooks::{layer_of, short_name};
use crate::result::{Measurement, Severity};
use crate::spec::{BranchInput, LayerSpec, MlpSpec};
use crate::trace::{Evaluation, Quantity, TraceRequest};

/// The widest norm whose gain and bias are solved for: the work grows with the third power.
const WIDEST: usize = 1024;

/// A norm whose normalised values are right, and what reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Readers {
    /// `blocks.0.ln1`.
    pub(super) norm: String,
    pub(super) width: usize,
    pub(super) list: Vec<Reader>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reader {
    /// Where its values are shown, and what it multiplies with.
    pub(super) hook: Quantity,
    pub(super) weight: Quantity,
    /// The rounding of a healthy implementation on true inputs.
    pub(super) floor: f64,
    is_wrong: bool,
}

impl Readers {
    /// Those of the norm that is read where `hook` is shown, as far as each was measured on true inputs; nothing if no norm
    /// is, or if its normalised values were not measured.
    pub(super) fn at(model: &ModelInfo, measured: &[Measurement], hook: &str) -> Option<Self> {
        let index = layer_of(hook)?;
        let layer = model.spec.layers.get(index)?;
        let (norm, readers) = norm_read_at(layer, short_name(hook))?;
        let name = |short: &str| format!("blocks.{index}.{short}");
        let locally = |short: &str| {
            let quantity = Quantity::Hook(name(short));
            let mut all = measured.iter();
            all.find(|one| one.quantity == quantity && one.evaluation == Evaluation::Local)
        };
        locally(&format!("{norm}.hook_normalized"))?;
        let reader = |(hook, weight): (&str, &str)| {
            let measurement = locally(hook)?;
            Some(Reader {
                hook: measurement.quantity.clone(),
                weight: Quantity::Weight(name(weight)),
                floor: measurement.floor,
                is_wrong: measurement.severity == Severity::Danger,
            })
        };
        Some(Self {
            norm: name(norm),
            width: model.spec.d_model,
            list: readers.into_iter().filter_map(reader).collect(),
        })
    }

    /// The hook that shows what the norm makes before its gain and bias.
    pub(super) fn normalized(&self) -> Quantity {
        Quantity::Hook(format!("{}.hook_normalized", self.norm))
    }

    /// The question for the weights that they multiply with, if whoever is on trial can be asked for them.
    pub(super) fn question(
        &self,
        model: &ModelInfo,
        request: &TraceRequest,
    ) -> Option<PlannedRequest> {
        if !model.is_bridge() || self.width > WIDEST {
            return None;
        }
        let capture = self.list.iter().map(|reader| reader.weight.clone());
        Some(PlannedRequest::subject(TraceRequest {
            capture: capture.collect(),
            ..request.clone()
        }))
    }

    /// Whether every one of several is wrong, which what they have in common would explain.
    pub(super) fn are_all_wrong(&self) -> bool {
        self.list.len() > 1 && self.list.iter().all(|reader| reader.is_wrong)
    }

    /// Their hooks, for a person.
    pub(super) fn text(&self) -> String {
        let hooks = self.list.iter().filter_map(|reader| reader.hook.as_hook());
        let short: Vec<&str> = hooks.map(short_name).collect();
        match short.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => short.concat(),
        }
    }
}

/// A hook, and the weight that makes it, by their names in the block.
type Named = (&'static str, &'static str);

const ATTENTION: [Named; 3] = [
    ("attn.hook_q", "attn.W_Q"),
    ("attn.hook_k", "attn.W_K"),
    ("attn.hook_v", "attn.W_V"),
];

/// The norm that is read where the hook `short` is shown, and all that reads it.
fn norm_read_at(layer: &LayerSpec, short: &str) -> Option<(&'static str, Vec<Named>)> {
    let attn = layer.attn.as_ref().map(|branch| &branch.input);
    let of_mlp: &[Named] = match &layer.mlp.as_ref().map(|branch| &branch.body) {
        Some(MlpSpec::Dense(dense)) if dense.gate.is_some() => &[
            ("mlp.hook_pre", "mlp.W_gate"),
            ("mlp.hook_pre_linear", "mlp.W_in"),
        ],
        Some(MlpSpec::Dense(_)) => &[("mlp.hook_pre", "mlp.W_in")],
        Some(MlpSpec::Moe(_)) | None => &[],
    };
    let mlp = layer.mlp.as_ref().map(|branch| &branch.input);
    let is_shared = matches!(mlp, Some(BranchInput::SharedNorm));
    let is_among = |readers: &[Named]| readers.iter().any(|(hook, _)| *hook == short);
    let shared = if is_shared { of_mlp } else { &[] };
    match (attn, mlp) {
        (Some(BranchInput::Norm(_)), _) if is_among(&ATTENTION) || is_among(shared) => {
            Some(("ln1", [&ATTENTION, shared].concat()))
        }
        (_, Some(BranchInput::Norm(_))) if is_among(of_mlp) => Some(("ln2", of_mlp.to_vec())),
        _ => None,
    }
}
