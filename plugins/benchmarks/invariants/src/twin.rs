//! Two answers of the subject that have to agree.

use tlbench_sdk::judge::{Comparison, Findings, Pass};
use tlbench_sdk::{
    ATTENTION_MASK, Judgement, ModelInfo, PluginError, Quantity, Tensor, TensorMap, Trace,
    TraceRequest,
};

/// A stretch of positions in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// The logits of a stretch, `[1, len, d_vocab_out]`.
pub(crate) fn logits(trace: &Trace, stretch: Stretch) -> Result<Tensor, PluginError> {
    let logits = trace
        .value(&Quantity::Logits)
        .ok_or_else(|| PluginError::internal("no logits"))?;
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

/// Judges pairs of logits that have to agree, by the reference's floor for `floors`.
pub(crate) fn agree(
    model: &ModelInfo,
    floors: &Trace,
    pairs: Vec<(Tensor, Tensor)>,
    what: &str,
) -> Result<Judgement, PluginError> {
    let quantity = Quantity::Logits;
    let mut findings = Findings::new(std::slice::from_ref(&quantity), Pass::Forward);
    for (found, expected) in pairs {
        let len = expected.shape()[1];
        let ones = Tensor::from_vec(vec![1_i64; len], &[1, len])?;
        let request =
            TraceRequest::new(TensorMap::from([(ATTENTION_MASK.to_owned(), ones)]), vec![]);
        let comparison = Comparison::new(model, &request, floors)?;
        let evaluation = tlbench_sdk::Evaluation::Cumulative;
        findings.push(comparison.measure(&quantity, evaluation, Some(&found), &expected)?);
    }
    Ok(Judgement::Verdict(findings.verdict(model, what)))
}
