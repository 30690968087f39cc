//! What a run with gradients keeps: where differentiation ends, and what has reached the parameters.
//!
//! candle differentiates by values alone. Parameters are constants to it: the operation that takes one gives its
//! gradient to a [`Sink`], which knows the part of which stored tensor it is. So a run without gradients and one with
//! share the same weights, nothing is computed for parameters that nobody asked for, and tied parts meet in one sum.

mod add;
mod leaf;
mod sink;

pub(crate) use sink::Sink;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::error::EngineError;
use crate::weights::Part;
use leaf::Leaf;
use sink::Accumulated;

/// A parameter as an operation takes it.
#[derive(Clone)]
pub(crate) struct Operand {
    pub(crate) values: Tensor,
    /// Where its gradient goes, if somebody wants it.
    pub(crate) sink: Option<Sink>,
}

impl Operand {
    /// What is no parameter.
    pub(crate) fn constant(values: Tensor) -> Self {
        Self { values, sink: None }
    }

    /// The values, and where their gradient goes, if somebody wants it.
    pub(crate) fn wanted(&self) -> Option<(&Tensor, &Sink)> {
        self.sink.as_ref().map(|sink| (&self.values, sink))
    }

    /// The same with its values in one piece.
    pub(crate) fn contiguous(self) -> Result<Self> {
        Ok(Self {
            values: self.values.contiguous()?,
            ..self
        })
    }
}

/// The record of one run with gradients.
pub(crate) struct Tape {
    /// What every value of the run depends on, as far as candle knows.
    anchor: Var,
    accumulated: BTreeMap<String, Arc<Accumulated>>,
}

impl Tape {
    /// Collects the gradients of `parameters`, by the names that they are stored under.
    pub(crate) fn new(parameters: BTreeSet<String>, dtype: DType) -> Result<Self> {
        Ok(Self {
            anchor: Var::zeros((), dtype, &Device::Cpu)?,
            accumulated: parameters
                .into_iter()
                .map(|name| (name, Arc::default()))
                .collect(),
        })
    }

    /// `part` as an operation of this run takes it, once.
    pub(crate) fn operand(&self, part: &Part) -> Operand {
        let name = part.source.names.first();
        let accumulated = name.and_then(|name| self.accumulated.get(name));
        Operand {
            values: part.values.clone(),
            sink: accumulated.map(|accumulated| Sink::new(accumulated, &part.source)),
        }
    }

    /// `values` as a place where differentiation ends.
    pub(crate) fn leaf(&self, values: &Tensor) -> Result<Tensor> {
        values.apply_op2(self.anchor.as_tensor(), Leaf { table: None })
    }

    /// The rows `indices` of the parameter `table` as a place where differentiation ends.
    pub(crate) fn rows(&self, rows: &Tensor, table: &Part, indices: &Tensor) -> Result<Tensor> {
        let sink = self.operand(table).sink;
        let table = sink.map(|sink| (sink, indices.clone()));
        rows.apply_op2(self.anchor.as_tensor(), Leaf { table })
    }

    /// The gradient of every parameter, each after all that it was used for has given its share, under its stored name.
    pub(crate) fn finish(
        self,
    ) -> impl Iterator<Item = std::result::Result<(String, Tensor), EngineError>> {
        self.accumulated.into_iter().map(|(name, accumulated)| {
            let gradient = accumulated.total(&name)?;
            Ok((name, gradient))
        })
    }
}
