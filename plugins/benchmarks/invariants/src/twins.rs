//! Answers of the subject that have to agree.

use tlbench_sdk::judge::{Comparison, Findings, Outcome, Pass, answer_of, describe};
use tlbench_sdk::{
    ATTENTION_MASK, Divergence, Evaluation, ModelInfo, PluginError, Quantity, Severity, Tensor,
    TensorMap, Trace, TraceRequest, Verdict,
};

/// A stretch of positions in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Two stretches of logits that have to agree.
pub(crate) struct Twins {
    found: Tensor,
    expected: Tensor,
    complaint: String,
}

/// What came of comparing twins, and what is to be said if they differ.
pub(crate) struct Compared {
    pub(crate) outcome: Outcome,
    pub(crate) complaint: String,
}

impl Stretch {
    /// The first `len` positions of a row.
    pub(crate) const fn beginning(row: usize, len: usize) -> Self {
        Self { row, start: 0, len }
    }
}

impl Twins {
    /// A stretch of one answer, and the one of another answer that says what it has to be.
    pub(crate) fn new(
        (found, at): (&Trace, Stretch),
        (expected, there): (&Trace, Stretch),
        complaint: impl Into<String>,
    ) -> Result<Self, PluginError> {
        Ok(Self {
            found: logits(found, at)?,
            expected: logits(expected, there)?,
            complaint: complaint.into(),
        })
    }

    fn compare(self, model: &ModelInfo, floors: &Trace) -> Result<Compared, PluginError> {
        let len = self.expected.shape()[1];
        let ones = Tensor::from_vec(vec![1_i64; len], &[1, len])?;
        let inputs = TensorMap::from([(ATTENTION_MASK.to_owned(), ones)]);
        let comparison = Comparison::new(model, &TraceRequest::new(inputs, vec![]), floors)?;
        let outcome = comparison.measure(
            &Quantity::Logits,
            Evaluation::Cumulative,
            Some(&self.found),
            &self.expected,
        )?;
        Ok(Compared {
            outcome,
            complaint: self.complaint,
        })
    }
}

/// The logits of a stretch, `[1, len, d_vocab_out]`.
fn logits(trace: &Trace, stretch: Stretch) -> Result<Tensor, PluginError> {
    let logits = answer_of(trace, &Quantity::Logits)?;
    let Stretch { row, start, len } = stretch;
    let outside = || {
        PluginError::invalid_input(format!(
            "logits {:?} without positions {start} to {} of row {row}",
            logits.shape(),
            start + len
        ))
    };
    let &[_, pos, d_vocab] = logits.shape() else {
        return Err(outside());
    };
    let row = logits
        .row(row)
        .filter(|_| start + len <= pos)
        .ok_or_else(outside)?;
    let values = row.to_f64_vec()[start * d_vocab..(start + len) * d_vocab].to_vec();
    Ok(Tensor::from_vec(values, &[1, len, d_vocab])?)
}

/// Judges twins by the floor that the reference has for logits. `what` names them, in the plural.
pub(crate) fn agree(
    model: &ModelInfo,
    floors: &Trace,
    twins: impl Iterator<Item = Result<Twins, PluginError>>,
    what: &str,
) -> Result<Verdict, PluginError> {
    let compared = twins
        .map(|twins| twins?.compare(model, floors))
        .collect::<Result<_, PluginError>>()?;
    Ok(verdict(model, &Quantity::Logits, compared, what))
}

/// The verdict on comparisons of `quantity`, whose headline is the first that failed.
pub(crate) fn verdict(
    model: &ModelInfo,
    quantity: &Quantity,
    compared: Vec<Compared>,
    what: &str,
) -> Verdict {
    let count = compared.len();
    let mut findings = Findings::new(std::slice::from_ref(quantity), Pass::Forward);
    let mut failed: Vec<(String, Outcome, Divergence)> = Vec::new();
    for Compared { outcome, complaint } in compared {
        if let Some(divergence) = outcome.divergence() {
            failed.push((complaint, outcome.clone(), divergence));
        }
        findings.push(outcome);
    }
    let failures = failed.len();
    let Some(first) = failed.into_iter().next() else {
        return findings.verdict(model, what);
    };
    let mut verdict = headed_by(first);
    verdict.measurements = findings.measurements().to_vec();
    if count > 1 {
        verdict = verdict.detail("differing", format!("{failures} of {count} {what}"));
    }
    verdict
}

fn headed_by((complaint, outcome, divergence): (String, Outcome, Divergence)) -> Verdict {
    let message = format!("{complaint}: {}", divergence.reason);
    let mut verdict = Verdict::new(Severity::Danger, message);
    verdict.first_divergence = Some(divergence);
    let Outcome::Measured(measurement) = &outcome else {
        return verdict;
    };
    verdict = describe(verdict, measurement);
    match measurement.first_position_beyond_gate() {
        Some(first) => verdict.detail("first position beyond the gate", first.to_string()),
        None => verdict,
    }
}
