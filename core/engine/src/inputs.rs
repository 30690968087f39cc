//! The inputs of one run, checked.

use std::ops::Range;

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TensorMap};

use crate::cache::KvCache;
use crate::error::EngineError;

/// Token ids, mask and positions, all `[batch, pos]`.
pub(crate) struct Inputs {
    pub(crate) batch: usize,
    pub(crate) pos: usize,
    pub(crate) input_ids: Vec<i64>,
    pub(crate) position_ids: Vec<i64>,
    pub(crate) attention_mask: Vec<bool>,
}

impl Inputs {
    /// Without a mask every token is real; without positions they count the real tokens of a row, as HF's do where they
    /// are computed from a mask.
    pub(crate) fn new(tensors: &TensorMap) -> Result<Self, EngineError> {
        let input_ids = integers(tensors, INPUT_IDS, None)?;
        let shape = tensors[INPUT_IDS].shape();
        let &[batch, pos] = shape else {
            return Err(EngineError::request(
                INPUT_IDS,
                "shape [batch, pos]",
                format!("{shape:?}"),
            ));
        };
        if batch == 0 || pos == 0 {
            return Err(EngineError::request(
                INPUT_IDS,
                "at least one token",
                format!("shape {shape:?}"),
            ));
        }
        let attention_mask = match tensors.contains_key(ATTENTION_MASK) {
            true => integers(tensors, ATTENTION_MASK, Some(shape))?,
            false => vec![1; batch * pos],
        };
        let attention_mask: Vec<bool> =
            attention_mask.into_iter().map(|value| value != 0).collect();
        let position_ids = match tensors.contains_key(POSITION_IDS) {
            true => integers(tensors, POSITION_IDS, Some(shape))?,
            false => attention_mask.chunks(pos).flat_map(counted).collect(),
        };
        Ok(Self {
            batch,
            pos,
            input_ids,
            position_ids,
            attention_mask,
        })
    }

    /// Indices into a table of `rows`, as candle takes them.
    pub(crate) fn indices(
        &self,
        name: &str,
        values: &[i64],
        rows: usize,
    ) -> Result<Tensor, EngineError> {
        let indices = values
            .iter()
            .map(|&value| {
                u32::try_from(value)
                    .ok()
                    .filter(|&index| (index as usize) < rows)
            })
            .zip(values)
            .map(|(index, value)| {
                index.ok_or_else(|| {
                    EngineError::request(
                        name,
                        format!("values from 0 to {}", rows - 1),
                        value.to_string(),
                    )
                })
            })
            .collect::<Result<Vec<u32>, _>>()?;
        Ok(Tensor::from_vec(
            indices,
            self.batch * self.pos,
            &Device::Cpu,
        )?)
    }

    /// The positions in `range` alone.
    pub(crate) fn piece(&self, range: Range<usize>) -> Self {
        fn columns<T: Copy>(values: &[T], pos: usize, range: &Range<usize>) -> Vec<T> {
            let rows = values.chunks(pos);
            rows.flat_map(|row| &row[range.clone()]).copied().collect()
        }
        Self {
            batch: self.batch,
            pos: range.len(),
            input_ids: columns(&self.input_ids, self.pos, &range),
            position_ids: columns(&self.position_ids, self.pos, &range),
            attention_mask: columns(&self.attention_mask, self.pos, &range),
        }
    }

    /// These positions and then those of `next`, which has as many rows.
    pub(crate) fn followed_by(&self, next: &Self) -> Self {
        let both = |here: &[i64], there: &[i64]| interleaved(here, self.pos, there, next.pos);
        Self {
            batch: self.batch,
            pos: self.pos + next.pos,
            input_ids: both(&self.input_ids, &next.input_ids),
            position_ids: both(&self.position_ids, &next.position_ids),
            attention_mask: interleaved(
                &self.attention_mask,
                self.pos,
                &next.attention_mask,
                next.pos,
            ),
        }
    }

    /// Whether each position of `row` is a token.
    pub(crate) fn tokens(&self, row: usize) -> &[bool] {
        &self.attention_mask[row * self.pos..][..self.pos]
    }

    /// One more than the largest position, padding included: what HF takes for the length of a call.
    pub(crate) fn length(&self) -> i64 {
        self.position_ids.iter().max().map_or(0, |last| last + 1)
    }

    /// Whether each query sees each key, `[batch, pos, key_pos]`; the keys are those of `past` and then those here.
    /// Distances count places in the sequence, padding included, as HF's masks do.
    pub(crate) fn visible(&self, mask: Mask, past: Option<&KvCache>) -> Vec<bool> {
        let start = past.map_or(0, KvCache::len);
        let mut visible = Vec::with_capacity(self.batch * self.pos * (start + self.pos));
        for row in 0..self.batch {
            let tokens = self.keys(row, past);
            let padding = tokens.iter().take_while(|&&token| !token).count();
            for query in start..start + self.pos {
                let sees = |key: usize| mask.sees_behind(padding, query, key);
                let keys = tokens.iter().enumerate();
                visible.extend(keys.map(|(key, &token)| token && sees(key)));
            }
        }
        visible
    }

    /// The position of each key, those of `past` first, counted over the tokens of its row, `[batch, key_pos]`.
    pub(crate) fn key_positions(&self, past: Option<&KvCache>) -> Vec<i64> {
        (0..self.batch)
            .flat_map(|row| counted(&self.keys(row, past)))
            .collect()
    }

    /// Whether each key of `row` is a token, those of `past` first.
    fn keys(&self, row: usize, past: Option<&KvCache>) -> Vec<bool> {
        let before = past.map_or(&[][..], |past| past.tokens(row));
        [before, self.tokens(row)].concat()
    }

    /// Whether the token at `row`, `pos` is real.
    pub(crate) fn is_real(&self, row: usize, pos: usize) -> bool {
        self.attention_mask[row * self.pos + pos]
    }

    /// Whether the token at `row`, `pos` and the one after it are real.
    pub(crate) fn is_pair(&self, row: usize, pos: usize) -> bool {
        let at = row * self.pos + pos;
        pos + 1 < self.pos && self.attention_mask[at] && self.attention_mask[at + 1]
    }
}

/// Row by row, `here` of width `pos` and then `there` of width `more`.
fn interleaved<T: Copy>(here: &[T], pos: usize, there: &[T], more: usize) -> Vec<T> {
    let rows = here.chunks(pos).zip(there.chunks(more));
    rows.flat_map(|(here, there)| here.iter().chain(there))
        .copied()
        .collect()
}

/// The position of each token in its row, counted from the first real one.
fn counted(mask: &[bool]) -> Vec<i64> {
    let mut seen = 0;
    let position = |&real: &bool| {
        seen += i64::from(real);
        (seen - 1).max(0)
    };
    mask.iter().map(position).collect()
}

fn integers(
    tensors: &TensorMap,
    name: &str,
    shape: Option<&[usize]>,
) -> Result<Vec<i64>, EngineError> {
    let tensor = tensors
        .get(name)
        .ok_or_else(|| EngineError::request(name, "a tensor", "nothing"))?;
    if let Some(shape) = shape.filter(|&shape| shape != tensor.shape()) {
        return Err(EngineError::request(
            name,
            format!("shape {shape:?}"),
            format!("{:?}", tensor.shape()),
        ));
    }
    let values = tensor.as_slice::<i64>();
    values
        .map(<[i64]>::to_vec)
        .ok_or_else(|| EngineError::request(name, "i64", tensor.dtype().name()))
}
