//! Canonical weights while they are being changed.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{AbsentWeight, TensorSource};

use super::in_place;
use crate::error::EngineError;
use crate::precision::Precision;
use crate::weights::Parameters;

/// A model of which some weights are no longer those that are stored. It holds f64 only between two calls of
/// [`Draft::round`].
pub(super) struct Draft<'a> {
    parameters: &'a Parameters,
    precision: Precision,
    stored: BTreeMap<String, TensorSource>,
    absent: BTreeMap<String, AbsentWeight>,
    exact: BTreeMap<String, Tensor>,
    changed: BTreeMap<String, Tensor>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(spec: &ModelSpec, parameters: &'a Parameters, precision: Precision) -> Self {
        let stored = spec.weights().into_iter();
        let absent = spec.absent_weights().into_iter();
        Self {
            parameters,
            precision,
            stored: stored.map(|weight| (weight.name, weight.source)).collect(),
            absent: absent.map(|weight| (weight.name.clone(), weight)).collect(),
            exact: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Whether the model has the weight, by now.
    pub(super) fn has(&self, name: &str) -> bool {
        self.exact.contains_key(name)
            || self.changed.contains_key(name)
            || self.stored.contains_key(name)
    }

    /// The weight as it is by now, in canonical layout and f64; what is absent is what would change nothing. It is a copy,
    /// to be changed in its place and given back by [`Draft::set`].
    pub(super) fn get(&self, name: &str) -> Result<Tensor, EngineError> {
        if let Some(exact) = self.exact.get(name) {
            return Ok(in_place::exact(exact)?);
        }
        if let Some(changed) = self.changed.get(name) {
            return Ok(in_place::exact(changed)?);
        }
        if let Some(source) = self.stored.get(name) {
            return Ok(in_place::exact(&self.parameters.cut(name, source)?)?);
        }
        let Some(AbsentWeight { shape, neutral, .. }) = self.absent.get(name) else {
            return Err(EngineError::no_weight(name));
        };
        Ok(Tensor::full(*neutral, shape.as_slice(), &Device::Cpu)?)
    }

    /// The same, of which nothing is left here before it is given back.
    pub(super) fn take(&mut self, name: &str) -> Result<Tensor, EngineError> {
        match self.exact.remove(name) {
            Some(exact) => Ok(exact),
            None => self.get(name),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Tensor) {
        self.exact.insert(name.to_owned(), value);
    }

    /// Rounds what was set since the last time.
    pub(super) fn round(&mut self) -> Result<(), EngineError> {
        for (name, exact) in std::mem::take(&mut self.exact) {
            let rounded = in_place::rounded(&exact, self.precision)?;
            self.changed.insert(name, rounded);
        }
        Ok(())
    }

    /// `spec`, which may have lost norms, with its weights under canonical names.
    pub(super) fn finish(
        self,
        mut spec: ModelSpec,
    ) -> Result<(ModelSpec, Parameters), EngineError> {
        let renamed = spec.rename_weights();
        let mut parameters = self.parameters.renamed(&renamed)?;
        let changed: BTreeSet<String> = self.changed.keys().cloned().collect();
        for (name, value) in self.changed {
            spec.take_canonical(&name);
            parameters.insert(name, value);
        }
        for weight in spec.weights() {
            if changed.contains(&weight.name) {
                parameters.lay_out(&weight)?;
            }
        }
        Ok((spec, parameters))
    }
}
