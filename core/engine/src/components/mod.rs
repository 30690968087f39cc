//! The components of a model, ready to run.

mod attention;
mod block;
mod branch;
mod deviation;
mod embedding;
mod linear;
mod mlp;
mod moe;
mod network;
mod norm;
mod rotary;
mod router;
mod unembed;

pub(crate) use block::Block;
pub(crate) use embedding::Embedding;
pub(crate) use linear::Linear;
pub(crate) use norm::Norm;
pub(crate) use unembed::{Logits, Unembed};

use std::collections::HashMap;
use std::sync::Arc;

use tlbench_sdk::Deviation;
use tlbench_sdk::spec::{AlibiSpec, Mask, RotarySpec};

use candle_core::{Device, Tensor};

use crate::arithmetic::Arithmetic;
use crate::cache::KvCache;
use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::ops::Rotation;
use crate::precision::Precision;
use crate::probe::Probe;
use crate::tape::{Operand, Tape};
use crate::weights::Part;

/// What every component of one run needs.
pub(crate) struct Run<'a, 'r> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) probe: &'a mut Probe<'r>,
    pub(crate) precision: Precision,
    pub(crate) arithmetic: Arithmetic,
    /// A mistake that is made on purpose.
    pub(crate) deviation: Option<Deviation>,
    /// There if something is differentiated.
    pub(crate) tape: Option<Tape>,
    /// The past, for a run that goes on from one or is gone on from.
    past: Option<&'a mut KvCache>,
    masks: HashMap<Mask, Arc<Vec<bool>>>,
    rotations: Vec<(RotarySpec, Rotation)>,
}

impl<'a, 'r> Run<'a, 'r> {
    pub(crate) fn new(
        inputs: &'a Inputs,
        probe: &'a mut Probe<'r>,
        precision: Precision,
        arithmetic: Arithmetic,
        past: Option<&'a mut KvCache>,
    ) -> Self {
        Self {
            inputs,
            probe,
            precision,
            arithmetic,
            deviation: None,
            tape: None,
            past,
            masks: HashMap::new(),
            rotations: Vec::new(),
        }
    }

    /// `part` as an operation takes it, once.
    pub(crate) fn operand(&self, part: &Part) -> Operand {
        match &self.tape {
            Some(tape) => tape.operand(part),
            None => Operand::constant(part.values.clone()),
        }
    }

    /// Takes note of a use of `part` that its gradient does not see.
    pub(crate) fn without_gradient(&self, part: &Part) {
        if let Some((values, sink)) = self.operand(part).wanted() {
            sink.add_nothing(values.dtype());
        }
    }

    /// By how much the hook `name` changes `value`, if anybody looks at it; what is differentiated ends there.
    pub(crate) fn change_of(
        &mut self,
        name: &str,
        value: &Tensor,
    ) -> Result<Option<Tensor>, EngineError> {
        if !self.probe.looks_at(name) {
            return Ok(None);
        }
        let leaf = match &self.tape {
            Some(tape) => tape.leaf(value)?,
            None => value.clone(),
        };
        Ok(Some((self.probe.hook(name, leaf)? - value)?))
    }

    /// Stores `value`, shows it, and returns what the model goes on with. Only what one operation keeps to itself is
    /// shown without being stored first: [`Probe::hook`].
    pub(crate) fn hook(&mut self, name: &str, value: Tensor) -> Result<Tensor, EngineError> {
        let stored = self.precision.store(value)?;
        let changed = self.probe.hook(name, stored)?;
        if self.probe.changes(name) {
            Ok(self.precision.store(changed)?)
        } else {
            Ok(changed)
        }
    }

    fn is_cached(&self) -> bool {
        self.past.is_some()
    }

    /// Which keys each query sees; computed once per kind of mask.
    fn visible(&mut self, mask: Mask) -> Arc<Vec<bool>> {
        let mask = self.masked_as(mask);
        let (inputs, past) = (self.inputs, self.past.as_deref());
        Arc::clone(
            self.masks
                .entry(mask)
                .or_insert_with(|| Arc::new(inputs.visible(mask, past))),
        )
    }

    /// How far queries and keys are turned at each position; computed once per kind of rotation.
    fn rotation(&mut self, spec: &RotarySpec) -> Result<Rotation, EngineError> {
        if let Some((_, known)) = self.rotations.iter().find(|(known, _)| known == spec) {
            return Ok(known.clone());
        }
        let past = self.past.as_deref().map_or(&[][..], KvCache::lengths);
        let lengths: Vec<i64> = past.iter().copied().chain([self.inputs.length()]).collect();
        let exact = rotary::rotation(spec, &lengths, self.inputs, self.precision)?;
        let rotation = Rotation {
            cos: self.narrowed(Deviation::RotaryTableInBf16, exact.cos)?,
            sin: self.narrowed(Deviation::RotaryTableInBf16, exact.sin)?,
            pairing: exact.pairing,
        };
        self.rotations.push((spec.clone(), rotation.clone()));
        Ok(rotation)
    }

    /// What is added to the scores of each key, `[batch, heads, key_pos]`.
    fn alibi(&self, spec: &AlibiSpec) -> Result<Tensor, EngineError> {
        let positions = self.inputs.key_positions(self.past.as_deref());
        let (batch, heads) = (self.inputs.batch, spec.slopes.len());
        let key_pos = positions.len() / batch;
        let biases = positions.chunks(key_pos).flat_map(|row| {
            let biases = |slope: &f64| {
                row.iter()
                    .map(|&at| slope * at as f64)
                    .collect::<Vec<f64>>()
            };
            spec.slopes.iter().flat_map(biases).collect::<Vec<f64>>()
        });
        let biases = Tensor::from_vec(biases.collect(), (batch, heads, key_pos), &Device::Cpu)?;
        Ok(self.precision.rounded(&biases)?)
    }

    /// The keys and values of the past and then these, `[batch, n_kv_heads, key_pos, d_head]`.
    fn with_past(
        &mut self,
        layer: usize,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor), EngineError> {
        let Some(past) = self.past.as_deref_mut() else {
            return Ok((keys, values));
        };
        let new = keys.dim(2)?;
        let (keys, values) = past.extend(layer, &keys, &values)?;
        Ok((self.ordered(keys, new)?, self.ordered(values, new)?))
    }
}
