//! The inputs of one run, checked.

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, TensorMap};

use crate::error::EngineError;

/// Token ids, mask and positions, all `[batch, pos]`.
pub(crate) struct Inputs {
    pub(crate) batch: usize,
    pub(crate) pos: usize,
    pub(crate) input_ids: Vec<i64>,
    pub(crate) position_ids: Vec<i64>,
    attention_mask: Vec<bool>,
}

impl Inputs {
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
        let attention_mask = integers(tensors, ATTENTION_MASK, Some(shape))?;
        let position_ids = integers(tensors, POSITION_IDS, Some(shape))?;
        let attention_mask = attention_mask.into_iter().map(|value| value != 0).collect();
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

    /// Whether each query sees each key, `[batch, pos, key_pos]`. Distances count places in the sequence, padding
    /// included, as HF's masks do.
    pub(crate) fn visible(&self, mask: Mask) -> Vec<bool> {
        let (batch, pos) = (self.batch, self.pos);
        let mut visible = Vec::with_capacity(batch * pos * pos);
        for row in 0..batch {
            for query in 0..pos {
                visible.extend(
                    (0..pos)
                        .map(|key| mask.sees(query, key) && self.attention_mask[row * pos + key]),
                );
            }
        }
        visible
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
