//! What processed weights have to give, from what the weights as they are stored give.
//!
//! Processing keeps the function of a model, and each hook either keeps its value or changes in a known way: it loses its
//! mean, or a bias that moved elsewhere. So whoever cannot process weights is a reference for processed ones all the same.
//! Gradients are those of an objective to which a constant on all logits of a position means nothing.

use std::collections::BTreeMap;

use crate::hooks::{layer_of, short_name};
use crate::processing::{Processing, ProcessingStep};
use crate::spec::{ModelSpec, NormKind, ResidualSource, Wiring};
use crate::tensor::{ShapeError, Tensor};
use crate::trace::{Quantity, Trace};

/// The bias that [`ProcessingStep::FoldValueBiases`] moves, by layer: `[n_kv_heads, d_head]`, F64.
pub type ValueBiases = BTreeMap<usize, Tensor>;

/// How one quantity of a processed model follows from those of the raw one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The raw quantity.
    source: Quantity,
    change: Option<Change>,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    /// Less its mean over the last dimension.
    Centre,
    /// Less the means of these, where the stream has another part that keeps its own.
    LessMeansOf(Vec<Quantity>),
    /// Less the bias of the values of this layer, for each of so many query heads or for each key and value head.
    LessValueBias { layer: usize, heads: usize },
    /// Less the product of that bias and this gradient: what the pattern's gradient loses with the values.
    LessBiasTimesGradient { layer: usize, of_z: Quantity },
}

impl Mapping {
    /// How `quantity` of the model with its weights processed follows from the raw model; `None` if it does not.
    pub fn new(spec: &ModelSpec, processing: &Processing, quantity: &Quantity) -> Option<Self> {
        match quantity {
            Quantity::Hook(name) => hook(spec, processing, name),
            Quantity::HookGradient(name) => gradient(spec, processing, name),
            Quantity::Logits => {
                let centred = processing.has(ProcessingStep::CenterUnembed);
                Some(Self::new_if(centred, quantity.clone()))
            }
            Quantity::LogProbs | Quantity::LossPerToken | Quantity::Loss | Quantity::Generated => {
                Some(Self::same(quantity.clone()))
            }
            Quantity::ParameterGradient(_) | Quantity::Weight(_) => None,
        }
    }

    /// Whether the value is the raw one.
    pub fn is_identity(&self, quantity: &Quantity) -> bool {
        self.change.is_none() && self.source == *quantity
    }

    /// The raw quantity, whose floor is that of the result.
    pub fn source(&self) -> &Quantity {
        &self.source
    }

    /// All raw quantities that it takes.
    pub fn needs(&self) -> Vec<Quantity> {
        let mut needs = vec![self.source.clone()];
        match &self.change {
            Some(Change::LessBiasTimesGradient { of_z, .. }) => needs.push(of_z.clone()),
            Some(Change::LessMeansOf(written)) => needs.extend(written.iter().cloned()),
            Some(Change::Centre | Change::LessValueBias { .. }) | None => {}
        }
        needs
    }

    /// The value, from a raw trace with all that it needs; `None` if something is not there.
    pub fn apply(&self, raw: &Trace, biases: &ValueBiases) -> Option<Tensor> {
        let value = raw.value(&self.source)?;
        match &self.change {
            None => Some(value.clone()),
            Some(Change::Centre) => centred(value).ok(),
            Some(Change::LessMeansOf(written)) => {
                let written = written.iter().map(|one| raw.value(one));
                less_means(value, &written.collect::<Option<Vec<_>>>()?)
            }
            Some(Change::LessValueBias { layer, heads }) => {
                less_bias(value, biases.get(layer)?, *heads)
            }
            Some(Change::LessBiasTimesGradient { layer, of_z }) => {
                less_bias_times_gradient(value, raw.value(of_z)?, biases.get(layer)?)
            }
        }
    }

    fn same(source: Quantity) -> Self {
        Self {
            source,
            change: None,
        }
    }

    fn new_if(centred: bool, source: Quantity) -> Self {
        Self {
            source,
            change: centred.then_some(Change::Centre),
        }
    }
}

fn hook(spec: &ModelSpec, processing: &Processing, name: &str) -> Option<Mapping> {
    let same = || Some(Mapping::same(Quantity::hook(name)));
    let centred = processing.has(ProcessingStep::CenterWritingWeights);
    match short_name(name) {
        // A norm of the embedding takes its mean out already, and gives it one of its own.
        "hook_embed" if spec.embedding.norm.is_some() => same(),
        "hook_embed" | "hook_pos_embed" | "hook_attn_out" | "hook_mlp_out" => {
            Some(Mapping::new_if(centred, Quantity::hook(name)))
        }
        "hook_resid_pre" | "hook_resid_mid" | "hook_resid_post" | "hook_attn_in"
        | "hook_q_input" | "hook_k_input" | "hook_v_input" | "hook_mlp_in"
            if centred =>
        {
            Some(stream(spec, name))
        }
        "attn.hook_v" | "attn.hook_z" if processing.has(ProcessingStep::FoldValueBiases) => {
            let layer = layer_of(name)?;
            let branch = spec.layers.get(layer)?.attn.as_ref()?;
            let attention = &branch.body;
            let heads = if name.ends_with("hook_z") {
                attention.n_heads
            } else {
                attention.n_kv_heads
            };
            let has_bias = processing.has_value_bias(branch);
            Some(Mapping {
                source: Quantity::hook(name),
                change: has_bias.then_some(Change::LessValueBias { layer, heads }),
            })
        }
        // What a head adds contains its share of the values' bias, and no implementation of HF's shows it.
        "attn.hook_result" => None,
        "unembed.hook_in" if folds_into_head(spec, processing) => {
            Some(Mapping::same(Quantity::hook("ln_final.hook_normalized")))
        }
        "unembed.hook_out" => Some(Mapping::new_if(
            processing.has(ProcessingStep::CenterUnembed),
            Quantity::hook(name),
        )),
        _ => same(),
    }
}

/// The stream at the hook `name`, once what is written to it is centred.
fn stream(spec: &ModelSpec, name: &str) -> Mapping {
    let source = Quantity::hook(name);
    let change = match written(spec, name) {
        None => Some(Change::Centre),
        Some(written) if written.is_empty() => None,
        Some(written) => Some(Change::LessMeansOf(written)),
    };
    Mapping { source, change }
}

/// The outputs that were added to the stream at the hook `name` since it was what a norm gives, which keeps its mean;
/// `None` if it is nothing but what was written.
fn written(spec: &ModelSpec, name: &str) -> Option<Vec<Quantity>> {
    let mut written = spec.embedding.norm.is_some().then(Vec::new);
    let here = layer_of(name).unwrap_or_default();
    for (index, layer) in spec.layers.iter().enumerate().take(here + 1) {
        let has_split = layer.wiring == Wiring::Sequential;
        let (attn, mlp) = match (short_name(name), index == here) {
            (_, false) | ("hook_resid_post", true) => (true, true),
            ("hook_resid_mid" | "hook_mlp_in", true) => (has_split, false),
            (_, true) => (false, false),
        };
        let residual_of_attn = layer.attn.as_ref().map(|branch| branch.residual);
        let residual_of_mlp = layer.mlp.as_ref().map(|branch| branch.residual);
        for (is_added, residual, out) in [
            (attn, residual_of_attn, "hook_attn_out"),
            (mlp, residual_of_mlp, "hook_mlp_out"),
        ] {
            let Some(residual) = residual.filter(|_| is_added) else {
                continue;
            };
            if residual == ResidualSource::Input {
                written = Some(Vec::new());
            }
            if let Some(written) = &mut written {
                written.push(Quantity::hook(format!("blocks.{index}.{out}")));
            }
        }
    }
    written
}

fn gradient(spec: &ModelSpec, processing: &Processing, name: &str) -> Option<Mapping> {
    let of = |name: &str| Quantity::HookGradient(name.to_owned());
    let folds = processing.has(ProcessingStep::FoldLn);
    match short_name(name) {
        // What reads the norm is centred, so its gradient is.
        "ln1.hook_normalized" | "ln2.hook_normalized" | "ln_final.hook_normalized" => {
            let centred = folds && is_centring(spec, name);
            Some(Mapping::new_if(centred, of(name)))
        }
        "attn.hook_pattern" if processing.has(ProcessingStep::FoldValueBiases) => {
            let layer = layer_of(name)?;
            let branch = spec.layers.get(layer)?.attn.as_ref()?;
            let has_bias = processing.has_value_bias(branch);
            let of_z = of(&format!("blocks.{layer}.attn.hook_z"));
            Some(Mapping {
                source: of(name),
                change: has_bias.then_some(Change::LessBiasTimesGradient { layer, of_z }),
            })
        }
        "attn.hook_result" => None,
        "unembed.hook_in" if folds_into_head(spec, processing) => Some(Mapping::new_if(
            is_centring(spec, "ln_final"),
            of("ln_final.hook_normalized"),
        )),
        _ => Some(Mapping::same(of(name))),
    }
}

/// Whether the head reads the final norm before its gain.
fn folds_into_head(spec: &ModelSpec, processing: &Processing) -> bool {
    processing.has(ProcessingStep::FoldLn)
        && spec
            .final_norm
            .as_ref()
            .is_some_and(|norm| norm.gain.is_some() || norm.bias.is_some())
}

/// Whether the norm that the hook `name` belongs to takes the mean out.
fn is_centring(spec: &ModelSpec, name: &str) -> bool {
    let norm = match layer_of(name).and_then(|layer| spec.layers.get(layer)) {
        None => spec.final_norm.as_ref(),
        Some(layer) if name.contains(".ln1.") => layer
            .attn
            .as_ref()
            .and_then(crate::spec::Branch::input_norm),
        Some(layer) => layer.mlp.as_ref().and_then(crate::spec::Branch::input_norm),
    };
    norm.is_some_and(|norm| norm.kind == NormKind::LayerNorm)
}

fn centred(value: &Tensor) -> Result<Tensor, ShapeError> {
    let width = value.shape().last().copied().unwrap_or(1).max(1);
    let mut values = value.to_f64_vec();
    for row in values.chunks_mut(width) {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        for value in row {
            *value -= mean;
        }
    }
    Tensor::from_vec(values, value.shape())
}

/// `value [.., width]` less the mean over the width of each of `written`, which have its shape or, where it has a copy
/// per head, `[batch, pos, width]`.
fn less_means(value: &Tensor, written: &[&Tensor]) -> Option<Tensor> {
    let width = *value.shape().last()?;
    let copies = match value.shape() {
        [_, _, copies, _] => *copies,
        _ => 1,
    };
    let mut values = value.to_f64_vec();
    for one in written {
        let one = one.to_f64_vec();
        if one.len() * copies != values.len() {
            return None;
        }
        let rows = values.chunks_mut(copies * width).zip(one.chunks(width));
        for (values, one) in rows {
            let mean = one.iter().sum::<f64>() / width as f64;
            values.iter_mut().for_each(|value| *value -= mean);
        }
    }
    Tensor::from_vec(values, value.shape()).ok()
}

/// `value [batch, pos, heads, d_head]` less `bias [n_kv_heads, d_head]`.
fn less_bias(value: &Tensor, bias: &Tensor, heads: usize) -> Option<Tensor> {
    let &[kv_heads, d_head] = bias.shape() else {
        return None;
    };
    if value.shape().get(2..) != Some(&[heads, d_head]) || !heads.is_multiple_of(kv_heads) {
        return None;
    }
    let bias = bias.to_f64_vec();
    let mut values = value.to_f64_vec();
    for (index, value) in values.iter_mut().enumerate() {
        let head = index / d_head % heads;
        *value -= bias[head / (heads / kv_heads) * d_head + index % d_head];
    }
    Tensor::from_vec(values, value.shape()).ok()
}

/// `value [batch, heads, pos, key_pos]` less, for each key alike, `gradient [batch, pos, heads, d_head]` times
/// `bias [n_kv_heads, d_head]`.
fn less_bias_times_gradient(value: &Tensor, gradient: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let (&[batch, heads, pos, keys], &[kv_heads, d_head]) = (value.shape(), bias.shape()) else {
        return None;
    };
    if gradient.shape() != [batch, pos, heads, d_head] || !heads.is_multiple_of(kv_heads) {
        return None;
    }
    let (gradient, bias) = (gradient.to_f64_vec(), bias.to_f64_vec());
    let mut values = value.to_f64_vec();
    for (row, values) in values.chunks_mut(keys.max(1)).enumerate() {
        let (query, head) = (row % pos, row / pos % heads);
        let at = ((row / pos / heads * pos + query) * heads + head) * d_head;
        let bias = &bias[head / (heads / kv_heads) * d_head..][..d_head];
        let product: f64 = gradient[at..at + d_head]
            .iter()
            .zip(bias)
            .map(|(gradient, bias)| gradient * bias)
            .sum();
        for value in values {
            *value -= product;
        }
    }
    Tensor::from_vec(values, value.shape()).ok()
}
