//! Hooks are gone when their run is over.

use tlbench_sdk::judge::{answer_of, quantity_text, wrong_count};
use tlbench_sdk::{
    Action, Benchmark, BenchmarkInfo, Check, HookPoint, Intervention, Judgement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Severity, Target, Trace, TraceRequest, Verdict,
};

use crate::{MODULE, first_of, hooks, richest};

pub(crate) struct HooksRemoved;

impl Benchmark for HooksRemoved {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "hooks_removed",
            MODULE,
            "after a run with edits at every hook, a plain run gives what it gave before, bit by bit",
        )
        .explained(include_str!("explained/hooks_removed.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let capture: Vec<Quantity> = hooks(model, false)
            .into_iter()
            .chain([Quantity::Logits])
            .collect();
        let plain = model.request(richest(model)?.request.inputs.clone(), capture);
        let edited = TraceRequest {
            capture: vec![Quantity::Logits],
            interventions: model.hooks.iter().filter_map(halved).collect(),
            ..plain.clone()
        };
        Ok(vec![Check {
            variant: "edits_at_all_hooks".into(),
            requests: [plain, edited].map(PlannedRequest::subject).into(),
        }])
    }

    fn judge(
        &self,
        _: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (Some(plain), [before, edited, after @ ..]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let logits = Quantity::Logits;
        if answer_of(edited, &logits)? == answer_of(before, &logits)? {
            let message = "edits at every hook change nothing";
            return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
        }
        match after {
            // Only what is asked now is asked after the edits for certain.
            [] => Ok(Judgement::More(vec![plain.clone().again()])),
            [after] => Ok(Judgement::Verdict(compared(before, after))),
            _ => Err(wrong_count(answers)),
        }
    }
}

/// Whether a plain run gives after the edited one what it gave before.
fn compared(before: &Trace, after: &Trace) -> Verdict {
    let changed: Vec<String> = before
        .values
        .iter()
        .filter(|(quantity, value)| after.value(quantity) != Some(value))
        .map(|(quantity, _)| {
            format!(
                "{} is another one after an edited run",
                quantity_text(quantity)
            )
        })
        .collect();
    if changed.is_empty() {
        let count = before.values.len();
        let message = format!("{count} values are what they were, bit by bit");
        return Verdict::new(Severity::Info, message);
    }
    Verdict::new(Severity::Danger, first_of(&changed))
}

/// Half of a choice of experts is none.
fn halved(hook: &HookPoint) -> Option<Intervention> {
    let target = Target::Hook(hook.name.clone());
    let is_halved = hook.gate.is_none() && !hook.holds_integers();
    is_halved.then(|| Intervention::new(target, Action::Scale { factor: 0.5 }))
}
