//! The gradient at hooks.

use tlbench_sdk::judge::{
    Comparison, Findings, Outcome, Pass, applicable, in_representative_block, wrong_count,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Divergence, Evaluation, HookPoint, Judgement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Stimulus, Tier, Trace, TraceRequest, short_name,
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
        let richest = richest(model).map(|stimulus| stimulus.id.as_str());
        let checks = model.stimuli.iter().filter_map(|stimulus| {
            let shown = gradients(&stimulus.request.capture, |_| true);
            let own = (richest == Some(stimulus.id.as_str())).then(|| own(model));
            check(model, stimulus, shown, own.unwrap_or_default())
        });
        applicable(checks.collect(), NEEDED)
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
        let critical = |name: &str| {
            CRITICAL.contains(&short_name(name)) && in_representative_block(model, name)
        };
        let checks = model.stimuli.iter().filter_map(|stimulus| {
            let shown = gradients(&stimulus.request.capture, critical);
            check(model, stimulus, shown, Vec::new())
        });
        applicable(checks.collect(), NEEDED)
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

/// What a check needs.
const NEEDED: &str = "the gradient at a hook";

/// The gradients at hooks among `quantities`.
fn gradients(quantities: &[Quantity], wanted: impl Fn(&str) -> bool) -> Vec<Quantity> {
    let is_wanted =
        |quantity: &&Quantity| matches!(quantity, Quantity::HookGradient(name) if wanted(name));
    quantities.iter().filter(is_wanted).cloned().collect()
}

/// The question that shows the gradient at most hooks; of several the first.
fn richest(model: &ModelInfo) -> Option<&Stimulus> {
    let count = |stimulus: &&Stimulus| gradients(&stimulus.request.capture, |_| true).len();
    let asking = model.stimuli.iter().filter(|stimulus| count(stimulus) > 0);
    asking.rev().max_by_key(count)
}

/// The gradient at every hook of the subject that has one. HuggingFace shows no gated hook, so there those are left to the
/// others.
fn own(model: &ModelInfo) -> Vec<Quantity> {
    let hooks = model.hooks.iter().filter(|hook| !hook.holds_integers());
    hooks
        .filter(|hook| hook.gate.is_none() || model.tier != Tier::HuggingFace)
        .map(|hook| Quantity::HookGradient(hook.name.clone()))
        .collect()
}

/// The check on `stimulus` of what the reference shows there, and of what is the subject's `own`.
fn check(
    model: &ModelInfo,
    stimulus: &Stimulus,
    shown: Vec<Quantity>,
    own: Vec<Quantity>,
) -> Option<Check> {
    if shown.is_empty() {
        return None;
    }
    let asked = |quantities: &[Quantity]| {
        let known = |quantity: &&Quantity| hook_of(model, quantity).is_some();
        quantities.iter().filter(known).cloned().collect()
    };
    let mut all = shown.clone();
    all.extend(own.into_iter().filter(|quantity| !shown.contains(quantity)));
    let subject: Vec<Quantity> = asked(&all);
    // Who answers any question shows gated hooks as well.
    let reference = match model.tier {
        Tier::HuggingFace => shown,
        Tier::HookedTransformer | Tier::BridgeAlone => all,
    };
    let request = |capture| TraceRequest {
        capture,
        ..stimulus.request.clone()
    };
    Some(Check {
        variant: stimulus.id.clone(),
        requests: vec![
            PlannedRequest::reference(request(reference)),
            PlannedRequest::subject(request(subject)),
        ],
    })
}

/// The hook that `quantity` is the gradient at.
fn hook_of<'a>(model: &'a ModelInfo, quantity: &Quantity) -> Option<&'a HookPoint> {
    let Quantity::HookGradient(name) = quantity else {
        return None;
    };
    model.hooks.iter().find(|hook| hook.name == *name)
}

fn judge(model: &ModelInfo, check: &Check, answers: &[Trace]) -> Result<Judgement, PluginError> {
    let ([reference, asked], [truth, subject]) = (&check.requests[..], answers) else {
        return Err(wrong_count(answers));
    };
    let shown = &reference.request.capture;
    let alone = asked.request.capture.iter();
    let alone: Vec<Quantity> = alone
        .filter(|quantity| !shown.contains(quantity))
        .cloned()
        .collect();
    let all = in_forward_order(model, shown.iter().chain(&alone));
    let comparison = Comparison::new(model, &reference.request, truth)?;
    let mut findings = Findings::new(&all, Pass::Backward);
    for quantity in &all {
        if let Some(reason) = not_there(model, &asked.request, quantity, subject) {
            findings.push(broken(quantity, reason));
        } else if shown.contains(quantity) {
            findings.compare(&comparison, std::slice::from_ref(quantity), truth, subject)?;
        }
    }
    let mut verdict = findings.verdict(model, "gradients");
    if !alone.is_empty() && verdict.severity.passed() {
        let value = format!(
            "{} more, which are finite; the reference does not show them",
            alone.len()
        );
        verdict = verdict.detail("gradients of the subject alone", value);
    }
    Ok(Judgement::Verdict(verdict))
}

/// Why the subject has no gradient there that could be compared.
fn not_there(
    model: &ModelInfo,
    request: &TraceRequest,
    quantity: &Quantity,
    subject: &Trace,
) -> Option<String> {
    let Some((value, hook)) = subject.value(quantity).zip(hook_of(model, quantity)) else {
        return Some("the subject does not produce it".to_owned());
    };
    let [batch, pos] = request.shape();
    let expected = hook.sizes(batch, pos);
    if value.shape() != expected {
        return Some(format!(
            "it is {:?}, and the value is {expected:?}",
            value.shape()
        ));
    }
    (value.count_not_finite() > 0).then(|| "it is NaN or infinite".to_owned())
}

fn broken(quantity: &Quantity, reason: String) -> Outcome {
    Outcome::Broken(Divergence {
        quantity: quantity.clone(),
        evaluation: Evaluation::Cumulative,
        ratio: f64::INFINITY,
        reason,
    })
}

/// Those that the spec does not know stand last.
fn in_forward_order<'a>(
    model: &ModelInfo,
    quantities: impl Iterator<Item = &'a Quantity>,
) -> Vec<Quantity> {
    let mut sorted: Vec<Quantity> = quantities.cloned().collect();
    sorted.sort_by_key(|quantity| hook_of(model, quantity).map_or(usize::MAX, |hook| hook.order));
    sorted
}
