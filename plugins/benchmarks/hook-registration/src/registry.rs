//! Which hooks there are, in which shape, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Severity,
    Trace, Verdict,
};

use crate::forward_hooks::hook_names;
use crate::{MODULE, firing, first_of, hooks, order, richest};

/// The check of all shapes.
const SHAPES: &str = "shapes";

pub(crate) struct HookRegistry;

impl Benchmark for HookRegistry {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "hook_registry",
            MODULE,
            "every hook of the spec and of the reference fires, in its shape and in its place",
        )
        .explained(include_str!("explained/hook_registry.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let inputs = &richest(model)?.request.inputs;
        let shapes = Check {
            variant: SHAPES.into(),
            requests: [false, true]
                .map(|gated| hooks(model, gated))
                .into_iter()
                .filter(|capture| !capture.is_empty())
                .map(|capture| PlannedRequest::subject(model.request(inputs.clone(), capture)))
                .collect(),
        };
        let order = model
            .stimuli
            .iter()
            .filter_map(|stimulus| order::plan(model, stimulus));
        let told = firing::plan(model);
        Ok(std::iter::once(shapes).chain(order).chain(told).collect())
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let verdict = if check.variant == SHAPES {
            shapes(model, check, answers)
        } else if let Some(verdict) = firing::judge(model, check) {
            verdict
        } else {
            order::judge(model, check, answers)?
        };
        Ok(Judgement::Verdict(verdict))
    }
}

fn shapes(model: &ModelInfo, check: &Check, answers: &[Trace]) -> Verdict {
    let [batch, pos] = check
        .requests
        .first()
        .map_or([0, 0], |planned| planned.request.shape());
    let fired: BTreeMap<&str, &[usize]> = answers
        .iter()
        .flat_map(|trace| &trace.values)
        .filter_map(|(quantity, value)| Some((quantity.as_hook()?, value.shape())))
        .collect();
    let mut wrong = Vec::new();
    for hook in &model.hooks {
        let expected = hook.sizes(batch, pos);
        match fired.get(hook.name.as_str()) {
            None => wrong.push(format!("{} does not fire", hook.name)),
            Some(found) if *found != expected => wrong.push(format!(
                "{} is {found:?} where {} is {expected:?}",
                hook.name,
                hook.shape_text()
            )),
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = model.hooks.iter().map(|hook| hook.name.as_str()).collect();
    let shown: BTreeSet<&str> = model
        .stimuli
        .iter()
        .flat_map(|stimulus| hook_names(&stimulus.request.capture))
        .collect();
    wrong.extend(
        shown
            .difference(&known)
            .map(|name| format!("{name} of the reference is missing")),
    );
    if wrong.is_empty() {
        let shown = match shown.len() {
            0 => String::new(),
            count => format!("; the reference's {count} are among them"),
        };
        let message = format!(
            "all {} hooks fire in their shapes{shown}",
            model.hooks.len()
        );
        return Verdict::new(Severity::Info, message);
    }
    let verdict = Verdict::new(Severity::Danger, first_of(&wrong));
    wrong
        .iter()
        .fold(verdict, |verdict, one| verdict.detail("hook", one))
}
