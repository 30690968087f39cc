//! Generated tokens, and where two sequences of them part.

use tlbench_sdk::{
    ATTENTION_MASK, INPUT_IDS, POSITION_IDS, PluginError, Quantity, Tensor, TensorMap, Trace,
    TraceRequest,
};

/// Where two sequences of tokens part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    pub(crate) row: usize,
    pub(crate) step: usize,
    /// `None`: the sequence has ended.
    pub(crate) found: Option<i64>,
    pub(crate) expected: Option<i64>,
}

impl Parting {
    /// In words, where the expected token is that of `other`.
    pub(crate) fn text(&self, other: &str) -> String {
        let token = |token: Option<i64>| {
            token.map_or_else(|| "the end".to_owned(), |token| format!("token {token}"))
        };
        let Self { row, step, .. } = self;
        let (found, expected) = (token(self.found), token(self.expected));
        format!("row {row}, step {step}: {found} where {other} has {expected}")
    }
}

/// The first step of each row at which `found` differs from `expected`, both `[batch, new]`.
pub(crate) fn partings(found: &Tensor, expected: &Tensor) -> Result<Vec<Parting>, PluginError> {
    let (found, expected) = (rows(found)?, rows(expected)?);
    if found.len() != expected.len() {
        return Err(PluginError::invalid_input(format!(
            "{} rows of tokens, expected {}",
            found.len(),
            expected.len()
        )));
    }
    let pairs = found.iter().zip(&expected).enumerate();
    Ok(pairs
        .filter_map(|(row, (found, expected))| parting(row, found, expected))
        .collect())
}

/// The first step at which row `row` of a batch differs from the same row `alone`. A row that has ended while others go
/// on is filled up with `filler`.
pub(crate) fn parting_from_row(
    batch: &Tensor,
    row: usize,
    alone: &Tensor,
    filler: Option<i64>,
) -> Result<Option<Parting>, PluginError> {
    let (batch, alone) = (rows(batch)?, rows(alone)?);
    let (Some(found), [expected]) = (batch.get(row), &alone[..]) else {
        return Err(PluginError::internal("a row is missing"));
    };
    let mut expected = expected.clone();
    if let Some(filler) = filler {
        expected.resize(found.len().max(expected.len()), filler);
    }
    Ok(parting(row, found, &expected))
}

fn parting(row: usize, found: &[i64], expected: &[i64]) -> Option<Parting> {
    let steps = found.len().max(expected.len());
    let step = (0..steps).find(|&step| found.get(step) != expected.get(step))?;
    Some(Parting {
        row,
        step,
        found: found.get(step).copied(),
        expected: expected.get(step).copied(),
    })
}

/// How many tokens there are: `16 tokens`, `3 rows of 8 tokens`.
pub(crate) fn count_text(tokens: &Tensor) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    match *tokens.shape() {
        [1, new] => counted(new, "token"),
        [batch, new] => format!("{} of {}", counted(batch, "row"), counted(new, "token")),
        _ => counted(tokens.len(), "token"),
    }
}

/// The tokens of each row.
pub(crate) fn rows(tokens: &Tensor) -> Result<Vec<Vec<i64>>, PluginError> {
    let strange = || {
        let (dtype, shape) = (tokens.dtype(), tokens.shape());
        PluginError::invalid_input(format!(
            "generated tokens: {dtype} {shape:?}, expected i64 [batch, new]"
        ))
    };
    let &[batch, new] = tokens.shape() else {
        return Err(strange());
    };
    let values = tokens.as_slice::<i64>().ok_or_else(strange)?;
    let row = |row: usize| values[row * new..(row + 1) * new].to_vec();
    Ok((0..batch).map(row).collect())
}

/// The tokens that a trace generated.
pub(crate) fn generated(trace: &Trace) -> Result<&Tensor, PluginError> {
    trace
        .value(&Quantity::Generated)
        .ok_or_else(|| PluginError::internal("no generated tokens"))
}

/// Says that nothing can be compared where no sequence has a token: it would pass.
pub(crate) fn refuse_silence<'a>(
    sequences: impl IntoIterator<Item = &'a Tensor>,
) -> Result<(), PluginError> {
    let mut sequences = sequences.into_iter();
    if sequences.all(Tensor::is_empty) {
        return Err(PluginError::unsupported("no token was generated"));
    }
    Ok(())
}

/// The integers that `request` has by this name, row by row.
pub(crate) fn input(request: &TraceRequest, name: &str) -> Result<Vec<Vec<i64>>, PluginError> {
    let missing = || PluginError::internal(format!("a question without {name}"));
    rows(request.inputs.get(name).ok_or_else(missing)?)
}

/// The inputs of `request` with `tokens` appended to each row, as one plain run takes them.
pub(crate) fn continued(request: &TraceRequest, tokens: &Tensor) -> Result<TensorMap, PluginError> {
    let appended = rows(tokens)?;
    let [batch, _] = request.shape();
    if appended.len() != batch {
        return Err(PluginError::invalid_input(format!(
            "tokens for {} rows of {batch}",
            appended.len()
        )));
    }
    let mut inputs = TensorMap::new();
    for name in [INPUT_IDS, ATTENTION_MASK, POSITION_IDS] {
        let mut values = input(request, name)?;
        for (row, tokens) in values.iter_mut().zip(&appended) {
            let last = row.last().copied().unwrap_or(-1);
            match name {
                INPUT_IDS => row.extend(tokens),
                ATTENTION_MASK => row.extend(tokens.iter().map(|_| 1)),
                _ => row.extend((1..).zip(tokens).map(|(step, _)| last + step)),
            }
        }
        let width = values.first().map_or(0, Vec::len);
        let tensor = Tensor::from_vec(values.concat(), &[batch, width])?;
        inputs.insert(name.to_owned(), tensor);
    }
    Ok(inputs)
}
