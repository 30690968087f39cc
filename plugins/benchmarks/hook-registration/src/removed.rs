//! Hooks are gone when their run is over.

use tlbench_sdk::{
    Action, Benchmark, BenchmarkInfo, Check, Intervention, Judgement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Severity, Target, Trace, TraceRequest, Verdict,
};

use crate::{MODULE, hooks, richest};

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
            interventions: hooks(model, false).iter().filter_map(halved).collect(),
            ..plain.clone()
        };
        let before = PlannedRequest::subject(plain);
        let after = before.clone().again();
        Ok(vec![Check {
            variant: "edits_at_all_hooks".into(),
            requests: vec![before, PlannedRequest::subject(edited), after],
        }])
    }

    fn judge(&self, _: &ModelInfo, _: &Check, answers: &[Trace]) -> Result<Judgement, PluginError> {
        let [before, edited, after] = answers else {
            return Err(PluginError::internal(format!(
                "{} answers to judge",
                answers.len()
            )));
        };
        let verdict = if edited.value(&Quantity::Logits) == before.value(&Quantity::Logits) {
            Verdict::new(Severity::Danger, "edits at every hook change nothing")
        } else {
            let mut changed = before
                .values
                .iter()
                .filter(|(quantity, value)| after.value(quantity) != Some(value))
                .map(|(quantity, _)| quantity.to_string());
            match changed.next() {
                None => {
                    let count = before.values.len();
                    let message = format!("{count} values are what they were, bit by bit");
                    Verdict::new(Severity::Info, message)
                }
                Some(first) => {
                    let others = changed.count();
                    let message =
                        format!("{first} is another one after an edited run (and {others} more)");
                    Verdict::new(Severity::Danger, message)
                }
            }
        };
        Ok(Judgement::Verdict(verdict))
    }
}

fn halved(hook: &Quantity) -> Option<Intervention> {
    let target = Target::Hook(hook.as_hook()?.to_owned());
    Some(Intervention::new(target, Action::Scale { factor: 0.5 }))
}
