//! What gated hooks have to be, whatever the weights are.

use tlbench_sdk::judge::ratio_text;
use tlbench_sdk::{DType, Gate, HookPoint, ModelInfo, Quantity, Tensor, Trace, layer_of};

/// What became of the identities of all gated hooks.
#[derive(Default)]
pub(crate) struct Identities {
    /// How many hold.
    pub(crate) hold: usize,
    /// The hooks that do not fire, or are not what they have to be, with the reason.
    pub(crate) broken: Vec<(String, String)>,
}

impl Identities {
    pub(crate) fn of(model: &ModelInfo, trace: &Trace) -> Self {
        let mut identities = Self::default();
        for hook in model.hooks.iter().filter(|hook| hook.gate.is_some()) {
            match identity(model, hook, trace) {
                Some(Ok(())) => identities.hold += 1,
                Some(Err(reason)) => identities.broken.push((hook.name.clone(), reason)),
                None => {}
            }
        }
        identities
    }
}

/// Whether the hook is what it has to be; `None` where nothing says what that is.
fn identity(model: &ModelInfo, hook: &HookPoint, trace: &Trace) -> Option<Result<(), String>> {
    let gate = hook.gate?;
    let Some(value) = trace.value(&Quantity::hook(&hook.name)) else {
        return Some(Err("it does not fire".to_owned()));
    };
    let block = hook.name.split(".hook_").next()?.trim_end_matches(".attn");
    let has = |name: &str| model.hooks.iter().any(|hook| hook.name == name);
    let name = |short: &str| format!("{block}.{short}");
    let neighbour = match gate {
        Gate::AttnIn | Gate::SplitQkvInput => name("hook_resid_pre"),
        Gate::HookMlpIn if has(&name("hook_resid_mid")) => name("hook_resid_mid"),
        Gate::HookMlpIn => name("hook_resid_pre"),
        Gate::AttnResult if adds_the_sum(model, block)? => name("hook_attn_out"),
        Gate::AttnResult => return None,
    };
    let Some(other) = trace.value(&Quantity::hook(&neighbour)) else {
        return Some(Err(format!("{neighbour} does not fire")));
    };
    Some(match gate {
        Gate::AttnResult => {
            let bias = trace.value(&Quantity::Weight(name("attn.b_O")));
            sums(value, bias, other, model.dtype).map_err(|why| {
                format!("its sum over heads and the bias is not {neighbour} ({why})")
            })
        }
        Gate::HookMlpIn => copies(value, other)
            .then_some(())
            .ok_or_else(|| format!("it is no copy of {neighbour}")),
        Gate::AttnIn | Gate::SplitQkvInput if copies(value, other) => Ok(()),
        Gate::AttnIn | Gate::SplitQkvInput => rounds(value, other, summands(block)?, model.dtype)
            .map_err(|why| format!("it is no copy of {neighbour} ({why})")),
    })
}

/// How many values the stream is the sum of where a block begins: embeddings, and what each block before has added.
fn summands(block: &str) -> Option<usize> {
    Some(2 + 2 * layer_of(block)?)
}

/// Whether what attention adds to the stream is the sum itself, and not what a norm or factor makes of it.
fn adds_the_sum(model: &ModelInfo, block: &str) -> Option<bool> {
    let branch = model.spec.layers.get(layer_of(block)?)?.attn.as_ref()?;
    Some(branch.output_norm.is_none() && branch.output_scale == 1.0)
}

/// Whether `value` is `stream [.., d_model]`, once or once for each head, bit by bit.
fn copies(value: &Tensor, stream: &Tensor) -> bool {
    let bits = |tensor: &Tensor| -> Vec<u64> {
        tensor.to_f64_vec().into_iter().map(f64::to_bits).collect()
    };
    let (values, streams) = (bits(value), bits(stream));
    let &[.., width] = stream.shape() else {
        return false;
    };
    if values.is_empty() || streams.is_empty() || !values.len().is_multiple_of(streams.len()) {
        return false;
    }
    let heads = values.len() / streams.len();
    streams
        .chunks(width)
        .zip(values.chunks(width * heads))
        .all(|(stream, copies)| copies.chunks(width).all(|copy| copy == stream))
}

/// Whether `value [batch, pos, heads, d_model]` is `stream` for each head, up to what rounding explains: four roundoffs
/// of each of the stream's `summands`. Flags of HookedTransformer that exclude each other take passes of their own, and
/// a pass that computes q, k and v for each head sums in another order.
fn rounds(value: &Tensor, stream: &Tensor, summands: usize, dtype: DType) -> Result<(), String> {
    let (&[batch, pos, heads, width], streams) = (value.shape(), stream.to_f64_vec()) else {
        return Err(format!("it is {:?}", value.shape()));
    };
    if stream.shape() != [batch, pos, width] {
        return Err(format!("{:?} for {:?}", value.shape(), stream.shape()));
    }
    let (mut error, mut size) = (0.0, 0.0);
    for (index, value) in value.to_f64_vec().into_iter().enumerate() {
        let stream = streams[index / (heads * width) * width + index % width];
        error += (value - stream).powi(2);
        size += stream.powi(2);
    }
    explained(
        error.sqrt(),
        4.0 * summands as f64 * dtype.roundoff() * size.sqrt(),
    )
}

/// Whether an error is one of rounding.
fn explained(error: f64, explained: f64) -> Result<(), String> {
    if error <= explained {
        return Ok(());
    }
    Err(if error.is_finite() {
        let excess = ratio_text(error / explained);
        format!("{excess} times what rounding explains")
    } else {
        "one is NaN or infinite".to_owned()
    })
}

/// Whether `result [batch, pos, heads, d_model]`, summed over heads, with `bias [d_model]`, is `out` up to what rounding
/// explains: four roundoffs of each summand, in another order.
fn sums(result: &Tensor, bias: Option<&Tensor>, out: &Tensor, dtype: DType) -> Result<(), String> {
    let &[batch, pos, heads, width] = result.shape() else {
        return Err(format!("it is {:?}", result.shape()));
    };
    if out.shape() != [batch, pos, width] {
        return Err(format!("{:?} for {:?}", result.shape(), out.shape()));
    }
    let bias = bias.map_or_else(|| vec![0.0; width], Tensor::to_f64_vec);
    if bias.len() != width {
        return Err(format!("a bias of {} for {width}", bias.len()));
    }
    let (result, out) = (result.to_f64_vec(), out.to_f64_vec());
    let (mut error, mut size) = (0.0, 0.0);
    for (index, out) in out.iter().enumerate() {
        let (row, channel) = (index / width, index % width);
        let terms = (0..heads).map(|head| result[(row * heads + head) * width + channel]);
        let (sum, magnitude) = terms.fold(
            (bias[channel], bias[channel].abs()),
            |(sum, magnitude), term| (sum + term, magnitude + term.abs()),
        );
        error += (sum - out).powi(2);
        size += magnitude.powi(2);
    }
    // Each product is a sum of d_head terms itself, of which result and out round every one alike at worst.
    let rounding = 4.0 * (heads + 2) as f64 * dtype.roundoff() * size.sqrt();
    explained(error.sqrt(), rounding)
}
