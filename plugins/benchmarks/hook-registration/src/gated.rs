//! The hooks that fire on demand.

use tlbench_sdk::judge::{Comparison, Findings, Pass};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Tier, Trace, Verdict,
};

use crate::identities::Identities;
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
        capture.extend(output_biases(model).map(Quantity::Weight));
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
        let gated = hooks(model, true);
        let identities = Identities::of(model, subject);
        if let [(first, reason), ..] = &identities.broken[..] {
            let verdict = Verdict::new(Severity::Danger, format!("{first}: {reason}"));
            let broken = identities.broken.iter();
            let verdict = broken.fold(verdict, |verdict, (hook, reason)| {
                verdict.detail(hook, reason)
            });
            return Ok(Judgement::Verdict(verdict));
        }
        let Some(truth) = answers.get(1) else {
            let message = format!(
                "all {} gated hooks fire; {} are the copies and sums that they have to be",
                gated.len(),
                identities.hold
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

/// The biases of attention outputs, among them those that folding makes.
fn output_biases(model: &ModelInfo) -> impl Iterator<Item = String> {
    let layers = model.spec.layers.iter().enumerate();
    layers.filter_map(|(index, layer)| {
        let branch = layer.attn.as_ref()?;
        let is_there = model.processing.has_output_bias(branch);
        is_there.then(|| format!("blocks.{index}.attn.b_O"))
    })
}
