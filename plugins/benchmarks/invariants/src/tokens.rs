//! The tokens of a question, row by row.

use std::ops::Range;

use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, PluginError, TraceRequest};

/// A row of a batch, whose padding stands on its sides alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) tokens: Vec<i64>,
    /// Where they stand in the batch.
    pub(crate) place: Range<usize>,
}

/// The rows of a question; `None` for one without a token, or with padding between two of them.
pub(crate) fn rows(request: &TraceRequest) -> Result<Vec<Option<Row>>, PluginError> {
    let ids = integers(request, INPUT_IDS)?;
    let masks = integers(request, ATTENTION_MASK)?;
    let rows = ids.iter().zip(&masks);
    Ok(rows.map(|(ids, mask)| row(ids, mask)).collect())
}

fn row(ids: &[i64], mask: &[i64]) -> Option<Row> {
    let start = mask.iter().position(|&real| real != 0)?;
    let end = mask.iter().rposition(|&real| real != 0)? + 1;
    let is_whole = mask[start..end].iter().all(|&real| real != 0);
    is_whole.then(|| Row {
        tokens: ids[start..end].to_vec(),
        place: start..end,
    })
}

/// As many tokens, none of which is the one in its place: the next one of the vocabulary.
pub(crate) fn others(tokens: &[i64], d_vocab: usize) -> Vec<i64> {
    let d_vocab = i64::try_from(d_vocab).unwrap_or(i64::MAX).max(1);
    tokens.iter().map(|token| (token + 1) % d_vocab).collect()
}

fn integers(request: &TraceRequest, name: &str) -> Result<Vec<Vec<i64>>, PluginError> {
    let missing = || PluginError::internal(format!("a question without {name} of integers"));
    let tensor = request.inputs.get(name).ok_or_else(missing)?;
    let values = tensor.as_slice::<i64>().ok_or_else(missing)?;
    let [_, pos] = request.shape();
    Ok(values.chunks(pos.max(1)).map(<[i64]>::to_vec).collect())
}
