//! The values at hooks.

use tlbench_sdk::judge::{
    Forward, applicable, in_representative_block, judge_forward, plan_forward,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Quantity, Stimulus, Trace,
    short_name,
};

use crate::MODULE;

/// Every hook on every input.
pub(crate) struct ForwardHooks;

impl Benchmark for ForwardHooks {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "forward_hooks",
            MODULE,
            "the value at every hook equals the reference's, and each component by itself gives it",
        )
        .explained(include_str!("explained/forward_hooks.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        plan(model, |_| true)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers, |_| true)
    }
}

/// The hooks of the first, a middle and the last block that most work with models looks at.
pub(crate) struct CriticalForwardHooks;

impl Benchmark for CriticalForwardHooks {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "critical_forward_hooks",
            MODULE,
            "the hooks that interpretability work uses most, in the first, a middle and the last block",
        )
        .explained(include_str!("explained/forward_hooks.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        plan(model, is_critical(model))
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers, is_critical(model))
    }
}

/// TransformerLens's list, which it looks at in block 0 alone.
const CRITICAL: &[&str] = &[
    "hook_embed",
    "hook_pos_embed",
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
    "ln_final.hook_normalized",
];

fn is_critical(model: &ModelInfo) -> impl Fn(&str) -> bool {
    |name| CRITICAL.contains(&short_name(name)) && in_representative_block(model, name)
}

/// Asks for every hook, as the floors of the local run are those of one that sets every hook to the truth.
fn plan(model: &ModelInfo, wanted: impl Fn(&str) -> bool) -> Result<Vec<Check>, PluginError> {
    let check = |stimulus: &Stimulus| {
        let mut request = stimulus.request.clone();
        request.capture.retain(|one| one.as_hook().is_some());
        // A check that compares nothing would pass.
        let compares = request.is_plain() && hook_names(&request.capture).into_iter().any(&wanted);
        compares.then(|| plan_forward(model, &stimulus.id, request))
    };
    let checks: Vec<Check> = model.stimuli.iter().filter_map(check).collect();
    applicable(checks, "any of these hooks")
}

fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
    wanted: impl Fn(&str) -> bool,
) -> Result<Judgement, PluginError> {
    let is_wanted = |quantity: &Quantity| quantity.as_hook().is_some_and(&wanted);
    Ok(
        match judge_forward(model, check, is_wanted, answers, None)? {
            Forward::Local(requests) | Forward::Readers(requests, _) => Judgement::More(requests),
            Forward::Done(findings) => Judgement::Verdict(findings.verdict(model, "hooks")),
        },
    )
}

/// The hooks among `quantities`.
pub(crate) fn hook_names(quantities: &[Quantity]) -> Vec<&str> {
    quantities.iter().filter_map(Quantity::as_hook).collect()
}
