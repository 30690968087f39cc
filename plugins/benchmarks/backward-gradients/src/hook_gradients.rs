//! The gradient at hooks.

use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Stimulus, Tier, Trace, TraceRequest, Verdict, short_name,
};

use crate::MODULE;

/// Every hook.
pub(crate) struct BackwardHooks;

impl Benchmark for BackwardHooks {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "backward_hooks",
            MODULE,
            "the gradient at every hook is there, is finite, and equals the reference's",
        )
        .explained(include_str!("explained/backward_hooks.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        plan(model, |_| true, true)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers)
    }
}

/// The hooks of the first, a middle and the last block that most work with gradients looks at.
pub(crate) struct CriticalBackwardHooks;

impl Benchmark for CriticalBackwardHooks {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "critical_backward_hooks",
            MODULE,
            "the gradients that attribution uses most, in the first, a middle and the last block",
        )
        .explained(include_str!("explained/backward_hooks.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let last = model.spec.layers.len().saturating_sub(1);
        let blocks = [0, last / 2, last].map(|index| format!("blocks.{index}."));
        let wanted = |name: &str| {
            CRITICAL.contains(&short_name(name))
                && (!name.starts_with("blocks.")
                    || blocks.iter().any(|block| name.starts_with(block)))
        };
        plan(model, wanted, false)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers)
    }
}

/// TransformerLens's list, which it looks at in block 0 alone.
const CRITICAL: &[&str] = &[
    "hook_embed",
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_z",
    "hook_attn_out",
    "mlp.hook_pre",
    "mlp.hook_post",
    "hook_mlp_out",
];

/// `in_full`: the subject is asked for the gradient at every hook of its own as well, whoever else shows it.
fn plan(
    model: &ModelInfo,
    wanted: impl Fn(&str) -> bool,
    in_full: bool,
) -> Result<Vec<Check>, PluginError> {
    let checks = model.stimuli.iter().filter_map(|stimulus| {
        stimulus.request.gradients.as_ref()?;
        let shown = shown(stimulus, &wanted);
        let mut asked = shown.clone();
        let of_interest = model.hooks.iter().filter(|hook| {
            in_full
                && stimulus.request.capture.len() > THIN
                && (hook.gate.is_none() || model.tier != Tier::HuggingFace)
        });
        for hook in of_interest {
            let quantity = Quantity::HookGradient(hook.name.clone());
            if !asked.contains(&quantity) {
                asked.push(quantity);
            }
        }
        let known = |quantity: &Quantity| match quantity {
            Quantity::HookGradient(name) => model.hooks.iter().any(|hook| hook.name == *name),
            _ => false,
        };
        asked.retain(known);
        // Whoever answers any question shows gated hooks as well.
        let of_reference = if model.tier == Tier::HuggingFace {
            shown
        } else {
            asked.clone()
        };
        let request = |capture| TraceRequest {
            capture,
            ..stimulus.request.clone()
        };
        (!of_reference.is_empty()).then(|| Check {
            variant: stimulus.id.clone(),
            requests: vec![
                PlannedRequest::reference(request(of_reference)),
                PlannedRequest::subject(request(asked)),
            ],
        })
    });
    applicable(checks.collect(), "the gradient at a hook")
}

/// An input that shows no more than this is not one on which everything is looked at.
const THIN: usize = 20;

/// The gradients at hooks that the reference shows, in forward order.
fn shown(stimulus: &Stimulus, wanted: impl Fn(&str) -> bool) -> Vec<Quantity> {
    let capture = stimulus.request.capture.iter();
    capture
        .filter(|quantity| matches!(quantity, Quantity::HookGradient(name) if wanted(name)))
        .cloned()
        .collect()
}

fn judge(model: &ModelInfo, check: &Check, answers: &[Trace]) -> Result<Judgement, PluginError> {
    let ([reference, asked], [truth, subject]) = (&check.requests[..], answers) else {
        return Err(PluginError::internal(format!(
            "{} answers to judge",
            answers.len()
        )));
    };
    if let Some(quantity) = not_finite(subject) {
        let message = format!("{quantity} is NaN or infinite");
        return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
    }
    let quantities = in_forward_order(model, &reference.request.capture);
    let comparison = Comparison::new(model, &reference.request, truth)?;
    let mut findings = Findings::new(&quantities, Pass::Backward);
    findings.compare(&comparison, &quantities, truth, subject)?;
    let mut verdict = findings.verdict(model, "gradients");
    let alone = asked.request.capture.len().saturating_sub(quantities.len());
    if alone > 0 {
        let value = format!("{alone} more, which are finite; the reference does not show them");
        verdict = verdict.detail("gradients of the subject alone", value);
    }
    Ok(Judgement::Verdict(verdict))
}

fn not_finite(trace: &Trace) -> Option<&Quantity> {
    let mut values = trace.values.iter();
    let finite = |value: &tlbench_sdk::Tensor| value.to_f64_vec().iter().all(|v| v.is_finite());
    values
        .find(|(_, value)| !finite(value))
        .map(|(quantity, _)| quantity)
}

/// Those that the spec does not know stand last.
fn in_forward_order(model: &ModelInfo, quantities: &[Quantity]) -> Vec<Quantity> {
    let place = |quantity: &Quantity| match quantity {
        Quantity::HookGradient(name) => {
            let hook = model.hooks.iter().find(|hook| hook.name == *name);
            hook.map_or(usize::MAX, |hook| hook.order)
        }
        _ => usize::MAX,
    };
    let mut sorted = quantities.to_vec();
    sorted.sort_by_key(place);
    sorted
}
