//! Canonical weights while they are being changed.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::{AbsentWeight, TensorSource};

use super::exact::Exact;
use super::wanted::Wanted;
use crate::canonical_weights::CanonicalWeights;
use crate::error::EngineError;

/// A model of which some weights are no longer those that are stored.
pub(super) struct Draft<'a> {
    raw: &'a CanonicalWeights,
    wanted: Wanted,
    stored: BTreeMap<String, TensorSource>,
    absent: BTreeMap<String, AbsentWeight>,
    /// What was changed since the last call of [`Draft::round`].
    exact: BTreeMap<String, Exact>,
    changed: BTreeMap<String, Tensor>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(raw: &'a CanonicalWeights, wanted: Wanted) -> Self {
        let stored = raw.spec.weights().into_iter();
        let absent = raw.spec.absent_weights().into_iter();
        Self {
            raw,
            wanted,
            stored: stored.map(|weight| (weight.name, weight.source)).collect(),
            absent: absent.map(|weight| (weight.name.clone(), weight)).collect(),
            exact: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Whether somebody wants the weight.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.wanted.has(name)
    }

    /// Whether the model has the weight, by now.
    pub(super) fn has(&self, name: &str) -> bool {
        self.exact.contains_key(name)
            || self.changed.contains_key(name)
            || self.stored.contains_key(name)
    }

    /// The weight as it is by now, in canonical layout and f64.
    pub(super) fn get(&self, name: &str) -> Result<Tensor, EngineError> {
        Ok(match self.exact.get(name) {
            Some(exact) => exact.tensor()?,
            None => self.unchanged(name)?.tensor()?,
        })
    }

    /// The weight as it is by now, to be changed further.
    pub(super) fn change(&mut self, name: &str) -> Result<&mut Exact, EngineError> {
        let exact = match self.exact.remove(name) {
            Some(exact) => exact,
            None => self.unchanged(name)?,
        };
        Ok(self.exact.entry(name.to_owned()).or_insert(exact))
    }

    pub(super) fn set(&mut self, name: &str, value: &Tensor) -> Result<(), EngineError> {
        self.exact.insert(name.to_owned(), Exact::new(value)?);
        Ok(())
    }

    /// A weight as it was rounded last; what is absent is what would change nothing.
    fn unchanged(&self, name: &str) -> Result<Exact, EngineError> {
        if let Some(changed) = self.changed.get(name) {
            return Ok(Exact::new(changed)?);
        }
        if let Some(source) = self.stored.get(name) {
            return Ok(Exact::new(&self.raw.parameters.cut(name, source)?)?);
        }
        let Some(AbsentWeight { shape, neutral, .. }) = self.absent.get(name) else {
            return Err(EngineError::no_weight(name));
        };
        let neutral = Tensor::full(*neutral, shape.as_slice(), &Device::Cpu)?;
        Ok(Exact::new(&neutral)?)
    }

    /// Rounds what was changed since the last time.
    pub(super) fn round(&mut self) -> Result<(), EngineError> {
        for (name, exact) in std::mem::take(&mut self.exact) {
            let rounded = exact.rounded(self.raw.precision)?;
            self.changed.insert(name, rounded);
        }
        Ok(())
    }

    /// What was changed, rounded.
    pub(super) fn changed(self) -> BTreeMap<String, Tensor> {
        self.changed
    }

    /// `before` with what was changed in its place.
    pub(super) fn finish(self, before: CanonicalWeights) -> Result<CanonicalWeights, EngineError> {
        let mut after = before;
        let changed: BTreeSet<String> = self.changed.keys().cloned().collect();
        for (name, value) in self.changed {
            after.spec.take_canonical(&name);
            after.parameters.insert(name, value);
        }
        for weight in after.spec.weights() {
            if changed.contains(&weight.name) {
                after.parameters.lay_out(&weight)?;
            }
        }
        Ok(after)
    }
}
