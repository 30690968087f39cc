//! Keys and values of the past.

use std::collections::BTreeMap;

use candle_core::{Result as CandleResult, Tensor as CandleTensor};
use tlbench_sdk::{ATTENTION_MASK, Tensor};

use crate::convert::from_candle;
use crate::error::EngineError;
use crate::inputs::Inputs;

/// What the positions before a run have left for it: the keys and values of each layer, hooks and their edits
/// included, and which positions hold tokens.
///
/// It belongs to whoever made it, and to one model: every run that is handed it adds its own positions at the end. A
/// run that fails adds nothing.
#[derive(Debug, Default)]
pub struct KvCache {
    /// By row, whether each position is a token.
    attention_mask: Vec<Vec<bool>>,
    /// How far the positions of each run went. Some rotations depend on it.
    lengths: Vec<i64>,
    layers: BTreeMap<usize, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    keys: Room,
    values: Room,
}

impl KvCache {
    /// One without a past.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many positions it holds, padding included.
    pub fn len(&self) -> usize {
        self.attention_mask.first().map_or(0, Vec::len)
    }

    /// Whether there is no past.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of a layer, `[batch, pos, n_kv_heads, d_head]`; `None` for a layer that has not run or has no
    /// attention.
    ///
    /// # Errors
    /// If the values cannot be copied.
    pub fn past_keys(&self, layer: usize) -> Result<Option<Tensor>, EngineError> {
        self.shown(self.layers.get(&layer).map(|layer| &layer.keys))
    }

    /// The values of a layer, of the same shape.
    ///
    /// # Errors
    /// If the values cannot be copied.
    pub fn past_values(&self, layer: usize) -> Result<Option<Tensor>, EngineError> {
        self.shown(self.layers.get(&layer).map(|layer| &layer.values))
    }

    /// 1 where there is a token and 0 where there is padding, `[batch, pos]` of I64.
    ///
    /// # Errors
    /// Never, as long as all rows are of one length.
    pub fn previous_attention_mask(&self) -> Result<Tensor, EngineError> {
        let flags = self.attention_mask.iter().flatten();
        let flags = flags.map(|&token| i64::from(token)).collect();
        let shape = [self.attention_mask.len(), self.len()];
        Tensor::from_vec(flags, &shape).map_err(|error| {
            EngineError::request(
                ATTENTION_MASK,
                format!("shape {shape:?}"),
                error.to_string(),
            )
        })
    }

    /// Whether each position of `row` is a token.
    pub(crate) fn tokens(&self, row: usize) -> &[bool] {
        self.attention_mask.get(row).map_or(&[], Vec::as_slice)
    }

    /// One more than the largest position of each run so far.
    pub(crate) fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// Whether `inputs` can go on from here.
    pub(crate) fn check(&self, inputs: &Inputs) -> Result<(), EngineError> {
        let batch = self.attention_mask.len();
        if batch == 0 || batch == inputs.batch {
            return Ok(());
        }
        Err(EngineError::request(
            "past_kv_cache",
            format!("a batch of {}", inputs.batch),
            batch.to_string(),
        ))
    }

    /// Puts keys and values `[batch, n_kv_heads, pos, d_head]` behind the past ones, and returns all. They are part of
    /// the past once the run has ended: [`KvCache::advance`].
    pub(crate) fn extend(
        &mut self,
        layer: usize,
        keys: &CandleTensor,
        values: &CandleTensor,
    ) -> Result<(CandleTensor, CandleTensor), EngineError> {
        let past = self.len();
        let layer = self.layers.entry(layer).or_default();
        Ok((
            layer.keys.extend(past, keys)?,
            layer.values.extend(past, values)?,
        ))
    }

    /// Makes the positions of a run that has ended part of the past.
    pub(crate) fn advance(&mut self, inputs: &Inputs) {
        self.lengths.push(inputs.length());
        self.attention_mask.resize(inputs.batch, Vec::new());
        for (row, past) in self.attention_mask.iter_mut().enumerate() {
            past.extend(inputs.tokens(row));
        }
    }

    fn shown(&self, room: Option<&Room>) -> Result<Option<Tensor>, EngineError> {
        let past = room.map(|room| room.past(self.len())).transpose()?;
        let past = past.flatten();
        past.map(|past| from_candle(&past.transpose(1, 2)?))
            .transpose()
    }
}

/// A tensor `[batch, n_kv_heads, pos, d_head]` with room behind its last position, so that a step writes its own
/// position and copies no other.
#[derive(Debug, Default)]
struct Room(Option<CandleTensor>);

impl Room {
    fn past(&self, len: usize) -> CandleResult<Option<CandleTensor>> {
        match &self.0 {
            Some(room) if len > 0 => Ok(Some(room.narrow(2, 0, len)?)),
            _ => Ok(None),
        }
    }

    fn extend(&mut self, past: usize, new: &CandleTensor) -> Result<CandleTensor, EngineError> {
        let (batch, heads, added, d_head) = new.dims4()?;
        let len = past + added;
        let room = match self.fitting(past, new)? {
            Some(room) if room.dim(2)? >= len => room.clone(),
            smaller => {
                let size = (batch, heads, len.next_power_of_two(), d_head);
                let larger = CandleTensor::zeros(size, new.dtype(), new.device())?;
                if let Some(smaller) = smaller {
                    let past = smaller.narrow(2, 0, past)?.contiguous()?;
                    larger.slice_set(&past, 2, 0)?;
                }
                larger
            }
        };
        room.slice_set(&new.contiguous()?, 2, past)?;
        let all = room.narrow(2, 0, len)?;
        self.0 = Some(room);
        Ok(all)
    }

    /// What is kept of the past; it has to be of one kind with `new`.
    fn fitting(
        &self,
        past: usize,
        new: &CandleTensor,
    ) -> Result<Option<&CandleTensor>, EngineError> {
        let Some(room) = self.0.as_ref().filter(|_| past > 0) else {
            return Ok(None);
        };
        let kind = |tensor: &CandleTensor| {
            let (_, heads, _, d_head) = tensor.dims4()?;
            let dtype = tensor.dtype().as_str();
            Ok::<_, candle_core::Error>(format!("{heads} heads of width {d_head} in {dtype}"))
        };
        let (expected, found) = (kind(new)?, kind(room)?);
        if expected == found {
            return Ok(Some(room));
        }
        Err(EngineError::request("past_kv_cache", expected, found))
    }
}
