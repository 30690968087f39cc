//! Every hook shows its value, and looking changes nothing.

use tlbench_sdk::compare::Region;
use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, HookPoint, Judgement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Severity, Stimulus, Trace, TraceRequest, Verdict,
    is_large,
};

use crate::inputs::inputs;
use crate::values::{Visible, complaint};
use crate::{EXPLAINED, MODULE};

/// Into how many passes the hooks are split.
const PARTS: usize = 3;

pub(crate) struct RunWithCache;

impl Benchmark for RunWithCache {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "run_with_cache",
            MODULE,
            "every hook fires in its shape and finite, and shows the same whatever else is looked at",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        if model.hooks.is_empty() {
            return Err(PluginError::unsupported("the model has no hook"));
        }
        let mut inputs = inputs(model)?;
        if is_large(&model.parameters) {
            // Padding has what there is without it, and each pass walks through all weights.
            inputs.drain(..inputs.len() - 1);
        }
        let checks = inputs.into_iter().map(|stimulus| check(model, stimulus));
        Ok(checks.collect())
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [whole, parts @ .., gated] = answers else {
            return Err(wrong_count(answers));
        };
        let request = check.requests.first().map(|planned| &planned.request);
        let request = request.ok_or_else(|| PluginError::internal("a check without a question"))?;
        let mask = request.inputs.get(ATTENTION_MASK);
        let region = mask.and_then(Region::new);
        let region =
            region.ok_or_else(|| PluginError::internal("a question without an attention mask"))?;
        let visible = Visible::new(&model.spec, &region);
        let mut complaints = Vec::new();
        for hook in &model.hooks {
            let answers = if hook.gate.is_none() {
                vec![whole, gated]
            } else {
                vec![gated]
            };
            let strange = answers.into_iter().find_map(|answer| {
                let value = answer.value(&Quantity::hook(&hook.name));
                complaint(hook, value, request.shape(), &visible)
            });
            complaints.extend(strange.or_else(|| changed(hook, whole, parts)));
        }
        Ok(Judgement::Verdict(verdict(model, &complaints)))
    }
}

fn check(model: &ModelInfo, stimulus: &Stimulus) -> Check {
    let asked = |hooks: &[&HookPoint]| {
        let capture = hooks.iter().map(|hook| Quantity::hook(&hook.name));
        PlannedRequest::subject(TraceRequest {
            capture: capture.collect(),
            ..stimulus.request.clone()
        })
    };
    let all: Vec<&HookPoint> = model.hooks.iter().collect();
    let by_default: Vec<&HookPoint> = all.iter().copied().filter(|h| h.gate.is_none()).collect();
    let size = by_default.len().div_ceil(PARTS).max(1);
    let mut requests = vec![asked(&by_default)];
    requests.extend(by_default.chunks(size).map(asked));
    requests.push(asked(&all));
    // Questions that differ only in what they show would be merged into one pass.
    let passes = requests.into_iter().enumerate();
    let in_a_pass_of_its_own = |(pass, request): (usize, PlannedRequest)| {
        (0..pass).fold(request, |request, _| request.again())
    };
    Check {
        variant: stimulus.id.clone(),
        requests: passes.map(in_a_pass_of_its_own).collect(),
    }
}

/// Whether a pass that looks at a part of the hooks shows another value.
fn changed(hook: &HookPoint, whole: &Trace, parts: &[Trace]) -> Option<String> {
    let quantity = Quantity::hook(&hook.name);
    if hook.gate.is_some() {
        return None;
    }
    let part = parts.iter().find_map(|part| part.value(&quantity));
    match part {
        None => Some(format!(
            "{}: not shown where it is looked at with a part of the others",
            hook.name
        )),
        Some(value) if Some(value) != whole.value(&quantity) => Some(format!(
            "{}: looking at all hooks changes its value",
            hook.name
        )),
        Some(_) => None,
    }
}

fn verdict(model: &ModelInfo, complaints: &[String]) -> Verdict {
    let count = model.hooks.len();
    match complaints.first() {
        None => {
            let gated = model
                .hooks
                .iter()
                .filter(|hook| hook.gate.is_some())
                .count();
            let message =
                format!("{count} hooks fire ({gated} of them gated), and show the same by parts");
            Verdict::new(Severity::Info, message)
        }
        Some(first) => Verdict::new(Severity::Danger, first.clone()).detail(
            "wrong",
            format!("{} of {count}: {}", complaints.len(), complaints.join(", ")),
        ),
    }
}
