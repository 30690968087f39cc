//! What a run with gradients keeps: where differentiation ends, and what has reached the parameters.
//!
//! candle differentiates by values alone. Parameters are constants to it: the operation that takes one tells a [`Sink`],
//! which knows the part of which stored tensor it is, how its gradient is worked out. So a run without gradients and one
//! with share the same weights, nothing is computed for parameters that nobody asks for, and tied parts meet in one sum.

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
    /// Records how the gradients of `parameters` are worked out, by the names that they are stored under.
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

    /// What is left after the backward pass.
    pub(crate) fn finish(self) -> Recorded {
        Recorded(self.accumulated)
    }
}

/// How the gradient of each parameter is worked out: what went into the products that it took part in, and what came back.
pub(crate) struct Recorded(BTreeMap<String, Arc<Accumulated>>);

impl Recorded {
    /// The gradient of the parameter stored as `name`, after all that it was used for has given its share.
    pub(crate) fn gradient(&self, name: &str) -> std::result::Result<Tensor, EngineError> {
        match self.0.get(name) {
            Some(accumulated) => accumulated.total(name),
            None => Err(EngineError::NoGradient {
                of: name.to_owned(),
                detail: "it takes no part in the run".to_owned(),
            }),
        }
    }
}
