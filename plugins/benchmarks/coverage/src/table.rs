//! Tables that are told by what they do: each party's own values, and what the spec's table makes of what came before them.

use tlbench_sdk::judge::{
    Comparison, Outcome, describe, explain, quantity_text, ratio_text, worst,
};
use tlbench_sdk::{
    Evaluation, Measurement, ModelInfo, PluginError, Quantity, Severity, Tensor, Trace,
    TraceRequest, Verdict,
};

/// What one party shows behind its table.
pub(crate) trait Behind {
    /// The hook that shows it.
    fn hook(&self) -> &str;

    /// It.
    fn found(&self) -> &Tensor;

    /// What it is by the spec's table, from the party's own values before it.
    fn expected(&self) -> Result<Tensor, PluginError>;

    /// Another table that would explain it, beside the spec's.
    fn observed(&self) -> String;
}

/// What reference and subject show behind the same table.
pub(crate) struct Pair<T> {
    pub(crate) reference: T,
    pub(crate) subject: T,
}

/// Holds both parties to the spec's tables, in execution order. `what` names the tables, in the plural.
pub(crate) fn judge<T: Behind>(
    model: &ModelInfo,
    request: &TraceRequest,
    truth: &Trace,
    pairs: &[Pair<T>],
    what: &str,
) -> Result<Verdict, PluginError> {
    let comparison = Comparison::new(model, request, truth)?;
    let measure = |behind: &T| {
        let quantity = Quantity::hook(behind.hook());
        // A table is the component's own; who measures no such floor has the one of the whole way.
        let has_local = truth.floor(&quantity).is_some_and(|f| f.local.is_some());
        let evaluation = match has_local {
            true => Evaluation::Local,
            false => Evaluation::Cumulative,
        };
        let found = Some(behind.found());
        comparison.measure(&quantity, evaluation, found, &behind.expected()?)
    };
    let mut measured: Vec<Measurement> = Vec::new();
    let mut failed = None;
    for pair in pairs {
        let (reference, subject) = (measure(&pair.reference)?, measure(&pair.subject)?);
        if failed.is_none() && reference.divergence().or(subject.divergence()).is_some() {
            failed = Some((pair, reference.clone(), subject.clone()));
        }
        measured.extend([reference, subject].into_iter().filter_map(measurement));
    }
    let mut verdict = match failed {
        None => matching(pairs.len(), &measured, what),
        Some((pair, reference, subject)) => diverging(model, pair, &reference, &subject),
    };
    verdict.measurements = measured;
    Ok(verdict)
}

fn measurement(outcome: Outcome) -> Option<Measurement> {
    match outcome {
        Outcome::Measured(measurement) => Some(measurement),
        Outcome::Broken(_) => None,
    }
}

fn matching(count: usize, measured: &[Measurement], what: &str) -> Verdict {
    let severity = worst(measured);
    let worst = measured.iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let worst = worst.map_or_else(String::new, |m| {
        let (ratio, quantity) = (ratio_text(m.ratio), quantity_text(&m.quantity));
        format!("; worst error ratio {ratio} ({quantity})")
    });
    let message =
        format!("{count} of {count} {what} are the spec's, in reference and subject{worst}");
    Verdict::new(severity, message)
}

fn diverging<T: Behind>(
    model: &ModelInfo,
    pair: &Pair<T>,
    reference: &Outcome,
    subject: &Outcome,
) -> Verdict {
    let (who, behind, outcome, at_fault) = match (reference.divergence(), subject.divergence()) {
        (Some(_), None) => (
            "reference",
            &pair.reference,
            reference,
            "the spec, which the subject follows",
        ),
        (Some(_), Some(_)) => (
            "reference",
            &pair.reference,
            reference,
            "not told: neither follows the spec",
        ),
        (None, _) => (
            "subject",
            &pair.subject,
            subject,
            "the subject: the reference follows the spec",
        ),
    };
    let observed = behind.observed();
    let message = format!(
        "the {who} does not follow the spec at {}: {observed}",
        behind.hook()
    );
    let mut verdict = Verdict::new(Severity::Danger, message).detail("at fault", at_fault);
    if let Some(divergence) = outcome.divergence() {
        verdict = explain(verdict, model, &divergence);
        verdict.first_divergence = Some(divergence);
    }
    match outcome {
        Outcome::Measured(measurement) => describe(verdict, measurement),
        Outcome::Broken(_) => verdict,
    }
}
