//! Which hooks fire by what subject and reference tell themselves, in which order and how often.

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::{Check, FiredHook, Firings, HookPoint, ModelInfo, Role, Severity, Verdict};

use crate::first_of;

const PREFIX: &str = "firing.";

/// A check for each who tells.
pub(crate) fn plan(model: &ModelInfo) -> impl Iterator<Item = Check> {
    model.firings.keys().map(|role| Check {
        variant: format!("{PREFIX}{}", who(*role)),
        requests: Vec::new(),
    })
}

/// The verdict, if `check` is one of these.
pub(crate) fn judge(model: &ModelInfo, check: &Check) -> Option<Verdict> {
    let told = check.variant.strip_prefix(PREFIX)?;
    let (_, firings) = model.firings.iter().find(|(role, _)| who(**role) == told)?;
    Some(verdict(&model.hooks, firings))
}

const fn who(role: Role) -> &'static str {
    match role {
        Role::Subject | Role::ExactSubject => "subject",
        Role::Reference => "reference",
    }
}

fn verdict(hooks: &[HookPoint], firings: &Firings) -> Verdict {
    let by_name: BTreeMap<&str, &HookPoint> = hooks
        .iter()
        .map(|hook| (hook.name.as_str(), hook))
        .collect();
    let mut wrong = Vec::new();
    let (mut fired, mut repeated) = (BTreeSet::new(), BTreeMap::new());
    for pass in &firings.passes {
        let mut last: Option<&HookPoint> = None;
        for one in pass {
            let Some(hook) = by_name.get(one.name.as_str()) else {
                wrong.push(format!("{} fires, and is no hook of the spec", one.name));
                continue;
            };
            if let Some(last) = last.filter(|last| last.order > hook.order) {
                wrong.push(format!("{} fires after {}", one.name, last.name));
            }
            last = Some(hook);
            if one.times > 1 {
                repeated.insert(one.name.as_str(), one.times);
            }
            if fired.insert(one.name.as_str()) {
                wrong.extend(misshapen(hook, one, firings.input));
            }
        }
    }
    let silent = hooks
        .iter()
        .filter(|hook| !fired.contains(hook.name.as_str()));
    wrong.extend(silent.map(|hook| format!("{} never fires", hook.name)));
    wrong.sort();
    wrong.dedup();
    if !wrong.is_empty() {
        let verdict = Verdict::new(Severity::Danger, first_of(&wrong));
        return wrong
            .iter()
            .fold(verdict, |verdict, one| verdict.detail("hook", one));
    }
    matching(hooks.len(), &repeated)
}

fn misshapen(hook: &HookPoint, fired: &FiredHook, [batch, pos]: [usize; 2]) -> Option<String> {
    let expected = hook.sizes(batch, pos);
    (fired.shape != expected).then(|| {
        format!(
            "{} is {:?} where {} is {expected:?}",
            hook.name,
            fired.shape,
            hook.shape_text()
        )
    })
}

fn matching(count: usize, repeated: &BTreeMap<&str, usize>) -> Verdict {
    let all = format!("{count} hooks fire under these names, in this order and in these shapes");
    if repeated.is_empty() {
        return Verdict::new(Severity::Info, format!("{all}, once each"));
    }
    let times: Vec<String> = repeated
        .iter()
        .map(|(hook, times)| format!("{hook} {times} times"))
        .collect();
    let message = format!("{all}; more than once: {}", first_of(&times));
    times
        .iter()
        .fold(Verdict::new(Severity::Warning, message), |verdict, one| {
            verdict.detail("fires", one)
        })
}
