//! Weights by their canonical names.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};

/// The weights of a model in one precision. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, Tensor>);

impl Parameters {
    pub(crate) fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Tensor> {
        let missing = || Error::request(name, "a canonical weight of this model", "none");
        self.find(name).ok_or_else(missing)
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, weight: Tensor) {
        self.0.insert(name.into(), weight);
    }

    pub(crate) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let converted =
            |(name, weight): (&String, &Tensor)| Ok((name.clone(), weight.to_dtype(dtype)?));
        Ok(Self(self.0.iter().map(converted).collect::<Result<_>>()?))
    }
}
