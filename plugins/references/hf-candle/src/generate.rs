//! Tokens that a port appends.

use candle_core::DType;
use tlbench_sdk::{GenerateRequest, Sampling};

use crate::error::{Error, Result};
use crate::inputs::Tokens;
use crate::ports::Port;

/// The tokens that follow each row, `[batch, new]` of I64, the one that ends a row included. A row that has ended is
/// filled up with the first stop token; all end early where rows have no room left.
pub(crate) fn generate(
    port: &mut dyn Port,
    mut tokens: Tokens,
    asked: &GenerateRequest,
    n_ctx: Option<usize>,
) -> Result<tlbench_sdk::Tensor> {
    if asked.sampling != Sampling::Greedy {
        return Err(Error::Unanswerable(
            "choose the likeliest token, and do not sample here",
        ));
    }
    let prompt = tokens.pos();
    let mut ended = vec![false; tokens.batch()];
    let mut from = 0;
    port.forget()?;
    for _ in 0..asked.max_new_tokens {
        let logits = port.last_logits(&tokens.piece(from, tokens.pos())?, from)?;
        let logits = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let mut chosen = Vec::with_capacity(logits.len());
        for (logits, ended) in logits.iter().zip(&mut ended) {
            let token = match asked.stop_tokens.first() {
                Some(&stop) if *ended => stop,
                _ => likeliest(logits)?,
            };
            *ended |= asked.stop_tokens.contains(&token);
            chosen.push(token as i64);
        }
        from = if asked.use_cache { tokens.pos() } else { 0 };
        tokens.append(&chosen);
        if ended.iter().all(|&ended| ended) || n_ctx.is_some_and(|n_ctx| tokens.pos() >= n_ctx) {
            break;
        }
        if !asked.use_cache {
            port.forget()?;
        }
    }
    let new = |row: &Vec<i64>| row[prompt..].to_vec();
    let appended: Vec<i64> = tokens.rows().iter().flat_map(new).collect();
    let shape = [tokens.batch(), tokens.pos() - prompt];
    Ok(tlbench_sdk::Tensor::from_vec(appended, &shape)?)
}

/// The token of the largest logit; of equal ones the first.
fn likeliest(logits: &[f64]) -> Result<usize> {
    let best = (0..logits.len()).fold(0, |best, token| {
        if logits[token] > logits[best] {
            token
        } else {
            best
        }
    });
    match logits.get(best) {
        Some(logit) if logit.is_finite() => Ok(best),
        found => Err(Error::Request {
            what: "logits",
            expected: "a largest one that is finite".to_owned(),
            found: found.map_or("none".to_owned(), ToString::to_string),
        }),
    }
}
