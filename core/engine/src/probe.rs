//! What happens at a hook: capture, edit, overwrite.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor};
use tlbench_sdk::{Action, Evaluation, HookPoint, Intervention, Quantity, Target, TraceRequest};

use crate::convert::{from_candle, to_candle};
use crate::error::EngineError;

/// Sees every hook of one run as it fires.
pub(crate) struct Probe<'a> {
    request: &'a TraceRequest,
    wanted: BTreeSet<&'a str>,
    edits: BTreeMap<&'a str, Vec<&'a Intervention>>,
    position_axis: BTreeMap<&'a str, Option<usize>>,
    dtype: DType,
    captured: BTreeMap<String, Tensor>,
    fired: BTreeSet<String>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(
        request: &'a TraceRequest,
        hooks: &'a [HookPoint],
        dtype: DType,
    ) -> Result<Self, EngineError> {
        let wanted: BTreeSet<&str> = request
            .capture
            .iter()
            .filter_map(Quantity::as_hook)
            .collect();
        let mut edits: BTreeMap<&str, Vec<&Intervention>> = BTreeMap::new();
        for intervention in &request.interventions {
            match &intervention.target {
                Target::Hook(name) => edits.entry(name).or_default().push(intervention),
                Target::HookGradient(name) => {
                    return Err(EngineError::Unanswerable(format!(
                        "an edit of the gradient at `{name}`"
                    )));
                }
                // Done before the run began.
                Target::Weight(_) => {}
            }
        }
        let position_axis: BTreeMap<&str, Option<usize>> = hooks
            .iter()
            .map(|hook| (hook.name.as_str(), position_axis(hook)))
            .collect();
        let named = wanted
            .iter()
            .copied()
            .chain(edits.keys().copied())
            .chain(request.truth.keys().map(String::as_str));
        for name in named {
            if !position_axis.contains_key(name) {
                return Err(EngineError::request(
                    name,
                    "a hook of this model",
                    "none of that name",
                ));
            }
        }
        Ok(Self {
            request,
            wanted,
            edits,
            position_axis,
            dtype,
            captured: BTreeMap::new(),
            fired: BTreeSet::new(),
        })
    }

    /// Whether anybody looks at `name`, so that it is worth computing.
    pub(crate) fn looks_at(&self, name: &str) -> bool {
        self.wanted.contains(name) || self.changes(name)
    }

    /// Whether the value at `name` may be changed, so that what follows has to be computed from it.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.edits.contains_key(name) || self.truth(name).is_some()
    }

    /// Shows `value` and returns what the model goes on with.
    pub(crate) fn hook(&mut self, name: &str, value: Tensor) -> Result<Tensor, EngineError> {
        self.fired.insert(name.to_owned());
        if self.wanted.contains(name) {
            self.captured.insert(name.to_owned(), value.clone());
        }
        let mut value = value;
        for edit in self.edits.get(name).into_iter().flatten() {
            value = self.edited(name, &value, edit)?;
        }
        match self.truth(name) {
            Some(truth) => self.operand(name, truth, &value),
            None => Ok(value),
        }
    }

    /// What was captured, once everything has run; a hook that did not fire is an error.
    pub(crate) fn finish(self) -> Result<BTreeMap<Quantity, tlbench_sdk::Tensor>, EngineError> {
        for name in self
            .wanted
            .iter()
            .copied()
            .chain(self.edits.keys().copied())
        {
            if !self.fired.contains(name) {
                return Err(EngineError::request(
                    name,
                    "a hook that fires",
                    "that it did not",
                ));
            }
        }
        self.captured
            .into_iter()
            .map(|(name, value)| Ok((Quantity::Hook(name), from_candle(&value)?)))
            .collect()
    }

    fn truth(&self, name: &str) -> Option<&'a tlbench_sdk::Tensor> {
        match self.request.evaluation {
            Evaluation::Local => self.request.truth.get(name),
            Evaluation::Cumulative => None,
        }
    }

    /// `tensor` in the run's precision, with the shape of the value that it replaces.
    fn operand(
        &self,
        name: &str,
        tensor: &tlbench_sdk::Tensor,
        value: &Tensor,
    ) -> Result<Tensor, EngineError> {
        if tensor.shape() != value.dims() {
            return Err(EngineError::request(
                name,
                format!("shape {:?}", value.dims()),
                format!("{:?}", tensor.shape()),
            ));
        }
        Ok(to_candle(tensor)?.to_dtype(self.dtype)?)
    }

    fn edited(
        &self,
        name: &str,
        value: &Tensor,
        edit: &Intervention,
    ) -> Result<Tensor, EngineError> {
        let operand = |operand: &str| {
            self.request
                .operands
                .get(operand)
                .ok_or_else(|| EngineError::request(operand, "an operand", "nothing"))
        };
        let edited = match &edit.action {
            Action::Zero => value.zeros_like()?,
            Action::Scale { factor } => (value * *factor)?,
            Action::Add { operand: by } => {
                let tensor = operand(by)?;
                let summand = to_candle(tensor)?.to_dtype(self.dtype)?;
                // A larger operand would broadcast the value, and not the other way round.
                let summand = summand.broadcast_as(value.shape()).map_err(|_| {
                    EngineError::request(
                        name,
                        format!("an operand that broadcasts to {:?}", value.dims()),
                        format!("shape {:?}", tensor.shape()),
                    )
                })?;
                (value + summand)?
            }
            Action::Replace { operand: by } => self.operand(name, operand(by)?, value)?,
            Action::Perturb { .. } => {
                return Err(EngineError::Unanswerable("a perturbation".to_owned()));
            }
        };
        match (&edit.rows, &edit.positions) {
            (None, None) => Ok(edited),
            (rows, positions) => {
                let chosen = self.chosen(name, value, rows.as_deref(), positions.as_deref())?;
                Ok(chosen.where_cond(&edited, value)?)
            }
        }
    }

    /// 1 where an edit applies, of the value's shape.
    fn chosen(
        &self,
        name: &str,
        value: &Tensor,
        rows: Option<&[usize]>,
        positions: Option<&[usize]>,
    ) -> Result<Tensor, EngineError> {
        let axis = self.position_axis.get(name).copied().flatten();
        let along = |dim: usize, chosen: Option<&[usize]>| -> Result<Tensor, EngineError> {
            let size = value.dim(dim)?;
            if let Some(outside) =
                chosen.and_then(|chosen| chosen.iter().find(|&&index| index >= size))
            {
                return Err(EngineError::request(
                    name,
                    format!("an index below {size}"),
                    outside.to_string(),
                ));
            }
            let flags: Vec<u8> = (0..size)
                .map(|index| u8::from(chosen.is_none_or(|chosen| chosen.contains(&index))))
                .collect();
            let mut shape = vec![1; value.rank()];
            shape[dim] = size;
            Ok(Tensor::from_vec(flags, shape, &Device::Cpu)?)
        };
        let by_row = along(0, rows)?;
        let by_position = match (axis, positions) {
            (Some(axis), _) => along(axis, positions)?,
            (None, None) => along(0, None)?,
            (None, Some(_)) => {
                return Err(EngineError::request(
                    name,
                    "a hook with positions",
                    "one without",
                ));
            }
        };
        Ok(by_row
            .broadcast_mul(&by_position)?
            .broadcast_as(value.shape())?
            .contiguous()?)
    }
}

/// The dimension that counts query positions.
fn position_axis(hook: &HookPoint) -> Option<usize> {
    match tlbench_sdk::compare::Axes::of_hook(hook) {
        tlbench_sdk::compare::Axes::Positions { pos } => Some(pos),
        tlbench_sdk::compare::Axes::Pairs | tlbench_sdk::compare::Axes::Whole => None,
    }
}

/// One copy per head: `[batch, pos, d_model]` to `[batch, pos, heads, d_model]`.
pub(crate) fn per_head(stream: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (batch, pos, d_model) = stream.dims3()?;
    stream
        .unsqueeze(2)?
        .broadcast_as((batch, pos, heads, d_model))?
        .contiguous()
}
