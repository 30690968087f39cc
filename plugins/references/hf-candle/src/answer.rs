//! The answer to one question, in one precision.

use std::ops::Range;

use candle_core::Tensor;
use tlbench_sdk::calibration::Values;
use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::{Evaluation, Quantity, TraceRequest};

use crate::error::{Error, Result};
use crate::generate::generate;
use crate::inputs::Tokens;
use crate::ports::Port;

/// Everything that `request` asks of `port`; a row has room for `n_ctx` tokens.
pub(crate) fn answer(
    port: &mut dyn Port,
    request: &TraceRequest,
    n_ctx: Option<usize>,
) -> Result<Values> {
    refuse(request)?;
    let tokens = Tokens::new(&request.inputs)?;
    let mut values = Values::new();
    if let Some(asked) = &request.generate {
        let generated = generate(port, tokens.clone(), asked, n_ctx)?;
        values.insert(Quantity::Generated, generated);
    }
    if request
        .capture
        .iter()
        .any(|quantity| *quantity != Quantity::Generated)
    {
        let logits = logits(port, &tokens, &pieces(&request.chunks, tokens.pos())?)?;
        let log_probs = log_softmax(&logits);
        let losses = losses(&log_probs, &tokens);
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let shape = [tokens.batch(), tokens.pos() - 1];
        values.extend([
            (
                Quantity::LossPerToken,
                tlbench_sdk::Tensor::from_vec(losses, &shape)?,
            ),
            (Quantity::Loss, tlbench_sdk::Tensor::scalar(mean)),
            (Quantity::LogProbs, log_probs),
            (Quantity::Logits, logits),
        ]);
    }
    values.retain(|quantity, _| request.capture.contains(quantity));
    Ok(values)
}

/// Refuses what the ports do not do.
fn refuse(request: &TraceRequest) -> Result<()> {
    let shows = |quantity: &Quantity| {
        matches!(
            quantity,
            Quantity::Logits
                | Quantity::LogProbs
                | Quantity::LossPerToken
                | Quantity::Loss
                | Quantity::Generated
        )
    };
    let reasons = [
        (!request.processing.is_raw(), "do not process weights"),
        (
            request.gradients.is_some(),
            "drop gradients silently, so that none are given",
        ),
        (!request.interventions.is_empty(), "cannot be edited"),
        (
            request.evaluation == Evaluation::Local,
            "do not run on another one's values",
        ),
        (!request.capture.iter().all(shows), "show logits alone"),
    ];
    match reasons.iter().find(|(asked, _)| *asked) {
        Some((_, reason)) => Err(Error::Unanswerable(reason)),
        None => Ok(()),
    }
}

/// The pieces that are fed one after the other.
fn pieces(chunks: &[usize], pos: usize) -> Result<Vec<Range<usize>>> {
    let whole = [pos];
    let lengths = if chunks.is_empty() { &whole } else { chunks };
    if lengths.contains(&0) || lengths.iter().sum::<usize>() != pos {
        return Err(Error::Request {
            what: "chunks",
            expected: format!("lengths from 1 on that sum to {pos}"),
            found: format!("{chunks:?}"),
        });
    }
    let ends = lengths.iter().scan(0, |end, length| {
        let start = *end;
        *end += length;
        Some(start..*end)
    });
    Ok(ends.collect())
}

/// `[batch, pos, d_vocab]`: what the port says at the end of each prefix, which it is fed in the same pieces.
fn logits(
    port: &mut dyn Port,
    tokens: &Tokens,
    pieces: &[Range<usize>],
) -> Result<tlbench_sdk::Tensor> {
    let mut by_position = Vec::with_capacity(tokens.pos());
    for (index, piece) in pieces.iter().enumerate() {
        for end in piece.start + 1..=piece.end {
            port.forget()?;
            for past in &pieces[..index] {
                port.last_logits(&tokens.piece(past.start, past.end)?, past.start)?;
            }
            let last = tokens.piece(piece.start, end)?;
            by_position.push(port.last_logits(&last, piece.start)?);
        }
    }
    from_candle(&Tensor::stack(&by_position, 1)?)
}

/// What each next token costs, in nats.
fn losses(log_probs: &tlbench_sdk::Tensor, tokens: &Tokens) -> Vec<f64> {
    let d_vocab = log_probs.shape().last().copied().unwrap_or(1);
    let values = log_probs.to_f64_vec();
    let mut losses = Vec::new();
    for (row, row_tokens) in tokens.rows().iter().enumerate() {
        for (pos, next) in row_tokens.iter().skip(1).enumerate() {
            let at = (row * row_tokens.len() + pos) * d_vocab;
            losses.push(-values[at + *next as usize]);
        }
    }
    losses
}

/// The values of a tensor, in f32 if it is no f64.
pub(crate) fn from_candle(tensor: &Tensor) -> Result<tlbench_sdk::Tensor> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        candle_core::DType::F64 => {
            tlbench_sdk::Tensor::from_vec(flat.to_vec1::<f64>()?, tensor.dims())?
        }
        _ => {
            let flat = flat.to_dtype(candle_core::DType::F32)?;
            tlbench_sdk::Tensor::from_vec(flat.to_vec1::<f32>()?, tensor.dims())?
        }
    })
}
