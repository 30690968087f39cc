//! Weights by their canonical names.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::weight::Weight;

/// The weights of a model, each as it is stored or was worked out. Cloning shares them.
///
/// There is no second copy for the precision of a run: it takes them in its own, a few at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, Weight>);

impl Parameters {
    pub(crate) fn find(&self, name: &str) -> Option<&Weight> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Weight> {
        let missing = || Error::request(name, "a canonical weight of this model", "none");
        self.find(name).ok_or_else(missing)
    }

    /// The weight in f64, which holds every one exactly.
    pub(crate) fn exact(&self, name: &str) -> Result<Tensor> {
        Ok(self.get(name)?.in_dtype(DType::F64)?)
    }

    /// The same, if the model has it.
    pub(crate) fn find_exact(&self, name: &str) -> Result<Option<Tensor>> {
        let found = self.find(name).map(|weight| weight.in_dtype(DType::F64));
        Ok(found.transpose()?)
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, weight: impl Into<Weight>) {
        self.0.insert(name.into(), weight.into());
    }
}
