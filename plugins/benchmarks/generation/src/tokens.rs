//! Generated tokens, and how clear the choice of each was.

use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    ATTENTION_MASK, DType, Evaluation, INPUT_IDS, POSITION_IDS, PluginError, Quantity, Tensor,
    TensorMap, Trace, TraceRequest,
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
        .filter_map(|(row, (found, expected))| {
            let steps = found.len().max(expected.len());
            let step = (0..steps).find(|&step| found.get(step) != expected.get(step))?;
            Some(Parting {
                row,
                step,
                found: found.get(step).copied(),
                expected: expected.get(step).copied(),
            })
        })
        .collect())
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

/// The inputs of `request` with `tokens` appended to each row, as one plain run takes them.
pub(crate) fn continued(request: &TraceRequest, tokens: &Tensor) -> Result<TensorMap, PluginError> {
    let appended = rows(tokens)?;
    let new = appended.first().map_or(0, Vec::len);
    let [batch, pos] = request.shape();
    let input = |name: &str| {
        let missing = || PluginError::internal(format!("a question without {name}"));
        rows(request.inputs.get(name).ok_or_else(missing)?)
    };
    let (ids, mask, positions) = (
        input(INPUT_IDS)?,
        input(ATTENTION_MASK)?,
        input(POSITION_IDS)?,
    );
    let mut continued = TensorMap::new();
    for name in [INPUT_IDS, ATTENTION_MASK, POSITION_IDS] {
        let mut values = Vec::with_capacity(batch * (pos + new));
        for row in 0..batch {
            match name {
                INPUT_IDS => values.extend(ids[row].iter().chain(&appended[row])),
                ATTENTION_MASK => {
                    values.extend(&mask[row]);
                    values.extend(std::iter::repeat_n(1, new));
                }
                _ => {
                    values.extend(&positions[row]);
                    let last = positions[row].last().copied().unwrap_or(-1);
                    values.extend((1..).take(new).map(|step| last + step));
                }
            }
        }
        let tensor = Tensor::from_vec(values, &[batch, pos + new])?;
        continued.insert(name.to_owned(), tensor);
    }
    Ok(continued)
}

/// How much larger the logit of the expected token is than that of the found one, in floors of the logits: what noise
/// can turn around is a few.
pub(crate) fn margin(
    logits: &Trace,
    parting: &Parting,
    prompt: usize,
    dtype: DType,
) -> Option<f64> {
    let value = logits.value(&Quantity::Logits)?;
    let &[_, pos, d_vocab] = value.shape() else {
        return None;
    };
    let at = prompt + parting.step - 1;
    if at >= pos {
        return None;
    }
    let row = value.row(parting.row)?.to_f64_vec();
    let logit = |token: Option<i64>| {
        let token = usize::try_from(token?)
            .ok()
            .filter(|&token| token < d_vocab)?;
        Some(row[at * d_vocab + token])
    };
    let floor = logits.floor(&Quantity::Logits)?;
    let floor: f64 = Floor::at(floor, Evaluation::Cumulative, dtype, 0.0)?;
    Some((logit(parting.expected)? - logit(parting.found)?) / floor.max(f64::MIN_POSITIVE))
}
