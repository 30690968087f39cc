//! The inputs of a question, of which the ports take the tokens alone.

use candle_core::{Device, Tensor};
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TensorMap};

use crate::error::{Error, Result};

/// Rows of tokens of one length, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens(Vec<Vec<i64>>);

impl Tokens {
    /// The tokens of a question in which nothing is masked and positions count from 0.
    pub(crate) fn new(inputs: &TensorMap) -> Result<Self> {
        let tokens = rows(inputs, INPUT_IDS)?;
        // An absent mask hides nothing.
        let mask = if inputs.contains_key(ATTENTION_MASK) {
            rows(inputs, ATTENTION_MASK)?
        } else {
            Vec::new()
        };
        if mask.iter().flatten().any(|&mask| mask == 0) {
            return Err(Error::Unanswerable("take no attention mask"));
        }
        let counts = |row: &Vec<i64>| row.iter().copied().eq(0..row.len() as i64);
        if !rows(inputs, POSITION_IDS)?.iter().all(counts) {
            return Err(Error::Unanswerable("take no positions"));
        }
        Ok(Self(tokens))
    }

    pub(crate) fn batch(&self) -> usize {
        self.0.len()
    }

    /// The length of every row.
    pub(crate) fn pos(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    pub(crate) fn rows(&self) -> &[Vec<i64>] {
        &self.0
    }

    /// Puts one token behind each row.
    pub(crate) fn append(&mut self, tokens: &[i64]) {
        for (row, &token) in self.0.iter_mut().zip(tokens) {
            row.push(token);
        }
    }

    /// The tokens at `start..end` as a port takes them, `[batch, end - start]`.
    pub(crate) fn piece(&self, start: usize, end: usize) -> Result<Tensor> {
        let ids = self.0.iter().flat_map(|row| &row[start..end]);
        let ids = ids.map(|&token| {
            u32::try_from(token).map_err(|_| Error::Request {
                what: INPUT_IDS,
                expected: "tokens from 0 on".to_owned(),
                found: token.to_string(),
            })
        });
        let ids = ids.collect::<Result<Vec<u32>>>()?;
        Ok(Tensor::from_vec(
            ids,
            (self.batch(), end - start),
            &Device::Cpu,
        )?)
    }
}

fn rows(inputs: &TensorMap, name: &'static str) -> Result<Vec<Vec<i64>>> {
    let tensor = inputs.get(name);
    let values = tensor.and_then(|tensor| Some((tensor.as_slice::<i64>()?, tensor.shape())));
    match values {
        Some((values, &[batch, pos])) if batch * pos > 0 => {
            Ok(values.chunks(pos).map(<[i64]>::to_vec).collect())
        }
        _ => Err(Error::Request {
            what: name,
            expected: "i64 [batch, pos] with at least one token".to_owned(),
            found: tensor.map_or("nothing".to_owned(), |tensor| {
                format!("{} {:?}", tensor.dtype(), tensor.shape())
            }),
        }),
    }
}
