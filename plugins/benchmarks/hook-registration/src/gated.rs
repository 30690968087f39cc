//! The hooks that fire on demand.

use std::collections::BTreeMap;

use tlbench_sdk::judge::{Comparison, Findings, Pass};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, DType, Gate, HookPoint, Judgement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Severity, Tensor, Tier, Trace, Verdict,
};

use crate::{MODULE, hooks, richest};

pub(crate) struct GatedHooksFire;

impl Benchmark for GatedHooksFire {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "gated_hooks_fire",
            MODULE,
            "every gated hook fires in every layer, and is a copy or a sum of what it has to be",
        )
        .explained(include_str!("explained/gated_hooks_fire.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let gated = hooks(model, true);
        if gated.is_empty() {
            return Err(PluginError::unsupported(
                "the architecture has no gated hook",
            ));
        }
        let inputs = &richest(model)?.request.inputs;
        let mut capture = gated.clone();
        capture.extend(hooks(model, false).into_iter().filter(is_neighbour));
        let biases = model.spec.weights().into_iter().map(|weight| weight.name);
        capture.extend(
            biases
                .filter(|name| name.ends_with(".b_O"))
                .map(Quantity::Weight),
        );
        let mut requests = vec![PlannedRequest::subject(
            model.request(inputs.clone(), capture),
        )];
        // HuggingFace shows none of them.
        if model.tier != Tier::HuggingFace {
            requests.push(PlannedRequest::reference(
                model.request(inputs.clone(), gated),
            ));
        }
        Ok(vec![Check {
            variant: "all".into(),
            requests,
        }])
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let Some(subject) = answers.first() else {
            return Err(PluginError::internal("no answer to judge"));
        };
        let wrong = wrong_by_identity(model, subject);
        if let Some((hook, reason)) = wrong.first() {
            let verdict = Verdict::new(Severity::Danger, format!("{hook}: {reason}"));
            let verdict = wrong.iter().fold(verdict, |verdict, (hook, reason)| {
                verdict.detail(hook, reason)
            });
            return Ok(Judgement::Verdict(verdict));
        }
        let gated = hooks(model, true);
        let Some(truth) = answers.get(1) else {
            let message = format!(
                "all {} gated hooks fire, and are what they have to be",
                gated.len()
            );
            return Ok(Judgement::Verdict(Verdict::new(Severity::Info, message)));
        };
        let request = &check.requests[0].request;
        let mut findings = Findings::new(&gated, Pass::Forward);
        findings.compare(
            &Comparison::new(model, request, truth)?,
            &gated,
            truth,
            subject,
        )?;
        Ok(Judgement::Verdict(findings.verdict(model, "gated hooks")))
    }
}

/// Whether gated hooks are copies of it, or sum to it.
fn is_neighbour(quantity: &Quantity) -> bool {
    let ends = [".hook_resid_pre", ".hook_resid_mid", ".hook_attn_out"];
    quantity
        .as_hook()
        .is_some_and(|name| ends.iter().any(|end| name.ends_with(end)))
}

/// The gated hooks that are missing, or not what they have to be, with the reason.
fn wrong_by_identity(model: &ModelInfo, trace: &Trace) -> Vec<(String, String)> {
    let values: BTreeMap<&str, &Tensor> = trace
        .values
        .iter()
        .filter_map(|(quantity, value)| match quantity {
            Quantity::Hook(name) | Quantity::Weight(name) => Some((name.as_str(), value)),
            _ => None,
        })
        .collect();
    let gated = model.hooks.iter().filter(|hook| hook.gate.is_some());
    gated
        .filter_map(|hook| {
            let reason = match values.get(hook.name.as_str()) {
                None => "it does not fire".to_owned(),
                Some(value) => why_wrong(model, hook, value, &values)?,
            };
            Some((hook.name.clone(), reason))
        })
        .collect()
}

fn why_wrong(
    model: &ModelInfo,
    hook: &HookPoint,
    value: &Tensor,
    values: &BTreeMap<&str, &Tensor>,
) -> Option<String> {
    let block = hook.name.split(".hook_").next()?.trim_end_matches(".attn");
    let of = |name: String| values.get(name.as_str()).copied();
    match hook.gate? {
        Gate::AttnIn | Gate::SplitQkvInput => {
            let stream = of(format!("{block}.hook_resid_pre"))?;
            (!copies(value, stream)).then(|| format!("it is no copy of {block}.hook_resid_pre"))
        }
        Gate::HookMlpIn => {
            let mid = of(format!("{block}.hook_resid_mid"));
            let stream = mid.or_else(|| of(format!("{block}.hook_resid_pre")))?;
            (!copies(value, stream)).then(|| "it is not what the branch reads".to_owned())
        }
        Gate::AttnResult => {
            let out = of(format!("{block}.hook_attn_out"))?;
            let branch = model.spec.layers.get(layer_of(block)?)?.attn.as_ref()?;
            // What a norm or factor makes of the sum is another value.
            if branch.output_norm.is_some() || branch.output_scale != 1.0 {
                return None;
            }
            let bias = of(format!("{block}.attn.b_O"));
            let ratio = excess_of_sum(value, bias, out, model.dtype)?;
            (ratio > 1.0).then(|| {
                format!("its sum over heads and the bias is not {block}.hook_attn_out ({ratio:.0} times what rounding explains)")
            })
        }
    }
}

fn layer_of(block: &str) -> Option<usize> {
    block.strip_prefix("blocks.")?.parse().ok()
}

/// Whether `value` is `stream`, once or once for each head, bit by bit.
fn copies(value: &Tensor, stream: &Tensor) -> bool {
    let (values, stream_values) = (value.to_f64_vec(), stream.to_f64_vec());
    let Some(&width) = stream.shape().last() else {
        return false;
    };
    if width == 0 || !values.len().is_multiple_of(stream_values.len().max(1)) {
        return false;
    }
    let heads = values.len() / stream_values.len().max(1);
    stream_values
        .chunks(width)
        .zip(values.chunks(width * heads))
        .all(|(stream, copies)| copies.chunks(width).all(|copy| copy == stream))
}

/// How far `result [batch, pos, heads, d_model]`, summed over heads, with `bias [d_model]`, is from `out`, over what
/// rounding explains: one roundoff of each summand and partial sum, in another order.
fn excess_of_sum(
    result: &Tensor,
    bias: Option<&Tensor>,
    out: &Tensor,
    dtype: DType,
) -> Option<f64> {
    let &[batch, pos, heads, width] = result.shape() else {
        return None;
    };
    if out.shape() != [batch, pos, width] {
        return Some(f64::INFINITY);
    }
    let (result, out) = (result.to_f64_vec(), out.to_f64_vec());
    let bias = bias.map_or_else(|| vec![0.0; width], Tensor::to_f64_vec);
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
    let terms = (heads + 2) as f64;
    Some(error.sqrt() / (terms * 4.0 * dtype.roundoff() * size.sqrt()))
}
