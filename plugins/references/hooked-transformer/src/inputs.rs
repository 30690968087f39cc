//! The inputs of a question, checked.

use std::ops::Range;

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TensorMap};

use crate::error::{Error, Result};

/// Tokens, positions and which of them are no padding, by row.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub(crate) tokens: Vec<Vec<i64>>,
    pub(crate) positions: Vec<Vec<i64>>,
    pub(crate) real: Vec<Vec<bool>>,
}

impl Inputs {
    pub(crate) fn new(tensors: &TensorMap) -> Result<Self> {
        let shape = tensors.get(INPUT_IDS).map(tlbench_sdk::Tensor::shape);
        let &[batch, pos] = shape.unwrap_or_default() else {
            let found = shape.map_or("nothing".to_owned(), |shape| format!("{shape:?}"));
            return Err(Error::request(INPUT_IDS, "shape [batch, pos]", found));
        };
        if batch * pos == 0 {
            let found = format!("shape [{batch}, {pos}]");
            return Err(Error::request(INPUT_IDS, "at least one token", found));
        }
        let mask = rows(tensors, ATTENTION_MASK, [batch, pos])?;
        let is_real = |row: &Vec<i64>| row.iter().map(|&value| value != 0).collect();
        Ok(Self {
            tokens: rows(tensors, INPUT_IDS, [batch, pos])?,
            positions: rows(tensors, POSITION_IDS, [batch, pos])?,
            real: mask.iter().map(is_real).collect(),
        })
    }

    pub(crate) fn batch(&self) -> usize {
        self.tokens.len()
    }

    /// The length of every row.
    pub(crate) fn pos(&self) -> usize {
        self.tokens.first().map_or(0, Vec::len)
    }

    /// Whether the token at `row`, `pos` and the one after it are real.
    pub(crate) fn is_pair(&self, row: usize, pos: usize) -> bool {
        self.real[row][pos] && self.real[row].get(pos + 1) == Some(&true)
    }

    /// The length that the positions in `piece` speak of: one more than the last.
    pub(crate) fn length(&self, piece: &Range<usize>) -> usize {
        let positions = self.positions.iter().flat_map(|row| &row[piece.clone()]);
        let last = positions.copied().max().unwrap_or(-1);
        usize::try_from(last + 1).unwrap_or(0)
    }

    /// The positions in `piece`, `[batch, pos, 1, 1]`.
    pub(crate) fn position_column(&self, piece: &Range<usize>) -> Result<Tensor> {
        let positions = self.positions.iter().flat_map(|row| &row[piece.clone()]);
        let positions: Vec<f64> = positions.map(|&position| position as f64).collect();
        let shape = (self.batch(), piece.len(), 1, 1);
        Ok(Tensor::from_vec(positions, shape, &Device::Cpu)?)
    }

    /// The place of each of the first `keys` keys among those that are no padding, `[batch, 1, 1, key_pos]`; that of
    /// padding is 0.
    pub(crate) fn counted_keys(&self, keys: usize) -> Result<Tensor> {
        let mut places = Vec::with_capacity(self.batch() * keys);
        for real in &self.real {
            let mut count = 0.0;
            for &is_real in &real[..keys] {
                places.push(if is_real { count } else { 0.0 });
                count += f64::from(u8::from(is_real));
            }
        }
        Ok(Tensor::from_vec(
            places,
            (self.batch(), 1, 1, keys),
            &Device::Cpu,
        )?)
    }

    /// Whether each query in `piece` sees each key up to its end, `[batch, 1, pos, key_pos]`. Distances count places in
    /// the sequence, padding included.
    pub(crate) fn visible(&self, mask: Mask, piece: &Range<usize>) -> Result<Tensor> {
        let mut visible = Vec::new();
        for real in &self.real {
            let padding = real.iter().take_while(|&&real| !real).count();
            for query in piece.clone() {
                let sees =
                    |key: usize| u8::from(real[key] && mask.sees_behind(padding, query, key));
                visible.extend((0..piece.end).map(sees));
            }
        }
        let shape = (self.batch(), 1, piece.len(), piece.end);
        Ok(Tensor::from_vec(visible, shape, &Device::Cpu)?)
    }
}

/// Which of the `rows` of a table each position in `piece` takes, `[batch * pos]`.
pub(crate) fn row_indices(
    what: &str,
    indices: &[Vec<i64>],
    piece: &Range<usize>,
    rows: usize,
) -> Result<Tensor> {
    let chosen = indices.iter().flat_map(|row| &row[piece.clone()]);
    let index = |&value: &i64| {
        let index = u32::try_from(value).ok();
        let index = index.filter(|&index| (index as usize) < rows);
        let expected = || format!("values from 0 to {}", rows.saturating_sub(1));
        index.ok_or_else(|| Error::request(what, expected(), value.to_string()))
    };
    let chosen = chosen.map(index).collect::<Result<Vec<u32>>>()?;
    let count = chosen.len();
    Ok(Tensor::from_vec(chosen, count, &Device::Cpu)?)
}

fn rows(tensors: &TensorMap, name: &str, shape: [usize; 2]) -> Result<Vec<Vec<i64>>> {
    let wrong = |found: String| Error::request(name, format!("i64 {shape:?}"), found);
    let tensor = tensors.get(name).ok_or_else(|| wrong("nothing".into()))?;
    let values = tensor.as_slice::<i64>().filter(|_| tensor.shape() == shape);
    let found = || wrong(format!("{} {:?}", tensor.dtype(), tensor.shape()));
    let values = values.ok_or_else(found)?;
    Ok(values.chunks(shape[1]).map(<[i64]>::to_vec).collect())
}
