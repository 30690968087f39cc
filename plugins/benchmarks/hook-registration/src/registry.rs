//! Which hooks there are, in which shape, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, HookPoint, Judgement, ModelInfo, PlannedRequest, PluginError,
    Quantity, Severity, Target, Trace, TraceRequest, Verdict,
};

use crate::forward_hooks::hook_names;
use crate::{MODULE, hooks, richest};

/// What an edit leaks to a hook before it, as a share of what it does at its own, if the order is another one. Whatever
/// is computed alike in two rows of a batch differs by rounding at most.
const LEAK: f64 = 1e-2;

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
            variant: "shapes".into(),
            requests: [false, true]
                .map(|gated| hooks(model, gated))
                .into_iter()
                .filter(|capture| !capture.is_empty())
                .map(|capture| PlannedRequest::subject(model.request(inputs.clone(), capture)))
                .collect(),
        };
        let edits = model
            .stimuli
            .iter()
            .filter(|stimulus| !stimulus.request.interventions.is_empty());
        let order = edits.map(|stimulus| Check {
            variant: format!("order.{}", stimulus.id),
            requests: vec![PlannedRequest::subject(TraceRequest {
                capture: edited_and_before(model, &stimulus.request),
                ..stimulus.request.clone()
            })],
        });
        Ok(std::iter::once(shapes).chain(order).collect())
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let verdict = if check.variant == "shapes" {
            shapes(model, check, answers)
        } else {
            order(model, check, answers)?
        };
        Ok(Judgement::Verdict(verdict))
    }
}

/// Each hook that is edited, and the one that fires before it.
fn edited_and_before(model: &ModelInfo, request: &TraceRequest) -> Vec<Quantity> {
    let mut wanted = BTreeSet::new();
    for (place, hook) in model.hooks.iter().enumerate() {
        if edited_row(request, &hook.name).is_some() {
            let before = model.hooks[..place]
                .iter()
                .rfind(|hook| hook.gate.is_none());
            wanted.extend(before.map(|before| before.order));
            wanted.insert(hook.order);
        }
    }
    let wanted = model
        .hooks
        .iter()
        .filter(|hook| wanted.contains(&hook.order));
    wanted.map(|hook| Quantity::hook(&hook.name)).collect()
}

/// The row in which the hook `name` is edited.
fn edited_row(request: &TraceRequest, name: &str) -> Option<usize> {
    let edit = request
        .interventions
        .iter()
        .find(|edit| edit.target == Target::Hook(name.to_owned()))?;
    edit.rows.as_ref()?.first().copied()
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
    match wrong.split_first() {
        None => Verdict::new(
            Severity::Info,
            format!(
                "all {} hooks fire in their shapes; the reference's {} are among them",
                model.hooks.len(),
                shown.len()
            ),
        ),
        Some((first, others)) => {
            let more = if others.is_empty() {
                String::new()
            } else {
                format!(" (and {} more)", others.len())
            };
            let verdict = Verdict::new(Severity::Danger, format!("{first}{more}"));
            wrong
                .iter()
                .fold(verdict, |verdict, one| verdict.detail("hook", one))
        }
    }
}

/// In each row one hook is edited: what fires before it has to be what it is in the row without an edit.
fn order(model: &ModelInfo, check: &Check, answers: &[Trace]) -> Result<Verdict, PluginError> {
    let (Some(planned), [trace]) = (check.requests.first(), answers) else {
        return Err(PluginError::internal(format!(
            "{} answers to judge",
            answers.len()
        )));
    };
    let (mut edited, mut compared, mut leaks) = (0, 0, Vec::new());
    for hook in &model.hooks {
        let Some(row) = edited_row(&planned.request, &hook.name) else {
            continue;
        };
        edited += 1;
        for before in model
            .hooks
            .iter()
            .filter(|before| before.order < hook.order)
        {
            let Some(change) = relative_change(trace, before, row) else {
                continue;
            };
            compared += 1;
            if change > LEAK * relative_edit(&planned.request, &hook.name) {
                leaks.push(format!(
                    "an edit at {} changes {} before it",
                    hook.name, before.name
                ));
            }
        }
    }
    let Some(first) = leaks.first() else {
        return Ok(Verdict::new(
            Severity::Info,
            format!("{edited} edits change nothing that fires before them ({compared} values)"),
        ));
    };
    let verdict = Verdict::new(Severity::Danger, first.clone());
    Ok(leaks
        .iter()
        .fold(verdict, |verdict, leak| verdict.detail("leak", leak)))
}

/// How strong the edit is, as a share of the value's RMS.
fn relative_edit(request: &TraceRequest, name: &str) -> f64 {
    let edit = request
        .interventions
        .iter()
        .find(|edit| edit.target == Target::Hook(name.to_owned()));
    match edit.map(|edit| &edit.action) {
        Some(tlbench_sdk::Action::Perturb { relative, .. }) => *relative,
        _ => 1.0,
    }
}

/// How far row `row` of a hook is from row 0, which has the same tokens and no edit, as a share of its RMS.
fn relative_change(trace: &Trace, hook: &HookPoint, row: usize) -> Option<f64> {
    let value = trace.value(&Quantity::hook(&hook.name))?;
    let (plain, edited) = (value.row(0)?.to_f64_vec(), value.row(row)?.to_f64_vec());
    let (mut difference, mut size) = (0.0, 0.0);
    for (plain, edited) in plain.iter().zip(&edited) {
        // Masked scores are the same infinity in both.
        if plain != edited {
            difference += (plain - edited).powi(2);
        }
        if plain.is_finite() {
            size += plain * plain;
        }
    }
    Some(if difference == 0.0 {
        0.0
    } else {
        (difference / size).sqrt()
    })
}
