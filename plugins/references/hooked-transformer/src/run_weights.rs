//! The weights that one run takes, and the gradients by them.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

use crate::error::Result;
use crate::matrix::{Lies, Matrix, Shares};
use crate::parameters::Parameters;

/// Weights in the precision of one run. Cloning shares them.
#[derive(Clone)]
pub(crate) struct RunWeights {
    parameters: Parameters,
    dtype: DType,
    /// Vectors by which the run is differentiated, as candle does it.
    variables: BTreeMap<String, Var>,
    /// Matrices by which it is, whose products give the gradient themselves.
    shares: BTreeMap<String, Shares>,
}

impl RunWeights {
    /// For a run in `dtype`.
    pub(crate) fn new(parameters: Parameters, dtype: DType) -> Self {
        Self {
            parameters,
            dtype,
            variables: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }

    /// The same for a run that is differentiated by every weight, whose gradients lie in memory so.
    pub(crate) fn differentiated(&self, lies: Lies) -> Result<Self> {
        let mut weights = self.clone();
        for name in self.parameters.names() {
            if is_matrix(name) {
                let shares = Shares::of(self.parameters.get(name)?, lies);
                weights.shares.insert(name.to_owned(), shares);
            } else {
                let variable = Var::from_tensor(&self.value(name)?)?;
                weights.variables.insert(name.to_owned(), variable);
            }
        }
        Ok(weights)
    }

    /// The weight in the precision of the run.
    pub(crate) fn value(&self, name: &str) -> Result<Tensor> {
        Ok(self.parameters.get(name)?.in_dtype(self.dtype)?)
    }

    /// The gain or bias `name`, if the model has it.
    pub(crate) fn vector(&self, name: &str) -> Result<Option<Tensor>> {
        if let Some(variable) = self.variables.get(name) {
            return Ok(Some(variable.as_tensor().clone()));
        }
        let found = self.parameters.find(name);
        Ok(found
            .map(|weight| weight.in_dtype(self.dtype))
            .transpose()?)
    }

    /// The matrix or table `name`.
    pub(crate) fn matrix(&self, name: &str) -> Result<Matrix> {
        let weight = self.parameters.get(name)?.clone();
        Ok(Matrix::new(weight, self.shares.get(name).cloned()))
    }

    /// By name, what `store` has of the vectors by which the run is differentiated.
    pub(crate) fn vector_gradients(&self, store: &GradStore) -> BTreeMap<String, Tensor> {
        let found = self.variables.iter().filter_map(|(name, variable)| {
            let gradient = store.get(variable)?;
            Some((name.clone(), gradient.clone()))
        });
        found.collect()
    }

    /// The gradient by the weight `name`, which is `of_vector` for a vector, and `sum` if that is there; 0 where nothing depends
    /// on the weight. It is a tensor that nobody else has.
    pub(crate) fn gradient(
        &self,
        name: &str,
        of_vector: Option<&Tensor>,
        sum: Option<Tensor>,
    ) -> Result<Tensor> {
        if let Some(shares) = self.shares.get(name) {
            return Ok(shares.total(sum, self.dtype)?);
        }
        let gradient = match of_vector {
            Some(gradient) => gradient.force_contiguous()?,
            None => self.value(name)?.zeros_like()?,
        };
        Ok(match sum {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        })
    }
}

/// Whether products and look-ups take the weight `name`: the others are added to vectors, or scale them.
fn is_matrix(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|part| part.starts_with("W_"))
}
