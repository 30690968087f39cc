//! What happens at a hook: capture, edit, overwrite, and on the way back the same with the gradient.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{D, DType, Tensor};
use tlbench_sdk::{Dim, Evaluation, HookPoint, Intervention, Quantity, Target, TraceRequest};

use super::edit::{Edit, Subject};
use super::tap::{Sink, Tap};
use crate::convert::{from_candle, to_candle};
use crate::error::{Error, Result};

/// Sees every hook of one question as it fires.
pub(crate) struct Probe<'q> {
    request: &'q TraceRequest,
    hooks: BTreeMap<&'q str, &'q HookPoint>,
    dtype: DType,
    /// Positions of the whole run, and those that run now.
    pos: usize,
    piece: Range<usize>,
    values: BTreeMap<&'q str, Vec<Tensor>>,
    gradients: BTreeMap<&'q str, Vec<(Sink, Tensor)>>,
    /// Every hook, as it fires.
    #[cfg(test)]
    pub(crate) fired: Vec<&'q str>,
}

impl<'q> Probe<'q> {
    /// For a run over `pos` positions.
    pub(crate) fn new(
        request: &'q TraceRequest,
        hooks: &'q [HookPoint],
        dtype: DType,
        pos: usize,
    ) -> Result<Self> {
        let hooks: BTreeMap<&str, &HookPoint> = hooks
            .iter()
            .map(|hook| (hook.name.as_str(), hook))
            .collect();
        for name in named(request) {
            if !hooks.contains_key(name) {
                let expected = "a hook of this model";
                return Err(Error::request(name, expected, "none of that name"));
            }
        }
        Ok(Self {
            request,
            hooks,
            dtype,
            pos,
            piece: 0..pos,
            values: BTreeMap::new(),
            gradients: BTreeMap::new(),
            #[cfg(test)]
            fired: Vec::new(),
        })
    }

    /// What fires from now on is about these positions.
    pub(crate) fn enter(&mut self, piece: Range<usize>) {
        self.piece = piece;
    }

    /// The precision of the run.
    pub(crate) const fn dtype(&self) -> DType {
        self.dtype
    }

    pub(crate) fn differentiates(&self) -> bool {
        self.request.gradients.is_some()
    }

    /// Whether the value at `name`, or its gradient, is shown or changed in any way.
    pub(crate) fn looks_at(&self, name: &str) -> bool {
        self.shows(&Quantity::hook(name)) || self.is_passed_through(name)
    }

    /// Whether the model has to go on with what comes back from `name`, where it could do without.
    pub(crate) fn is_passed_through(&self, name: &str) -> bool {
        self.shows_gradient(name) || self.edits(name) || self.truth(name).is_some()
    }

    /// Whether somebody intervenes at `name`, on the way forward or back.
    pub(crate) fn edits(&self, name: &str) -> bool {
        let targets = self.request.interventions.iter().map(|edit| &edit.target);
        targets.into_iter().any(|target| match target {
            Target::Hook(hook) | Target::HookGradient(hook) => hook == name,
            Target::Weight(_) => false,
        })
    }

    /// Whether the gradient at `name` is shown.
    pub(crate) fn shows_gradient(&self, name: &str) -> bool {
        self.shows(&Quantity::HookGradient(name.to_owned()))
    }

    /// Shows `value`, edits it, overwrites it with the truth; its gradient is that of what comes back.
    pub(crate) fn hook(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        let Some((&name, &hook)) = self.hooks.get_key_value(name) else {
            return Ok(value);
        };
        #[cfg(test)]
        self.fired.push(name);
        if self.shows(&Quantity::hook(name)) {
            self.values.entry(name).or_default().push(value.detach());
        }
        let mut value = value;
        let request = self.request;
        for edit in interventions(request, &Target::Hook(name.to_owned())) {
            value = self.edit(hook, &value, edit)?.apply(&value)?;
        }
        if let Some(truth) = self.truth(name) {
            value = self.overwritten(hook, truth, &value)?;
        }
        self.tapped(hook, value)
    }

    /// What was shown, once everything has run: values, and gradients if there was a way back.
    pub(crate) fn finish(self) -> Result<BTreeMap<Quantity, tlbench_sdk::Tensor>> {
        let mut shown = BTreeMap::new();
        for (name, pieces) in &self.values {
            let masked = if name.ends_with("hook_attn_scores") {
                f64::NEG_INFINITY
            } else {
                0.0
            };
            let value = self.joined(self.hooks[name], pieces, masked)?;
            shown.insert(Quantity::hook(*name), from_candle(&value)?);
        }
        for (name, pieces) in &self.gradients {
            if !self.shows_gradient(name) {
                continue;
            }
            // Where none arrived, nothing depends on the value.
            let gradient = |(sink, value): &(Sink, Tensor)| match sink.taken() {
                Some(gradient) => Ok(gradient),
                None => Ok(value.zeros_like()?),
            };
            let pieces = pieces.iter().map(gradient).collect::<Result<Vec<_>>>()?;
            let value = self.joined(self.hooks[name], &pieces, 0.0)?;
            shown.insert(
                Quantity::HookGradient((*name).to_owned()),
                from_candle(&value)?,
            );
        }
        self.check_fired(&shown)?;
        Ok(shown)
    }

    fn check_fired(&self, shown: &BTreeMap<Quantity, tlbench_sdk::Tensor>) -> Result<()> {
        let is_hook = |quantity: &&Quantity| {
            matches!(quantity, Quantity::Hook(_) | Quantity::HookGradient(_))
        };
        let silent = self.request.capture.iter().filter(is_hook);
        match silent
            .into_iter()
            .find(|quantity| !shown.contains_key(quantity))
        {
            Some(quantity) => {
                let quantity = quantity.to_string();
                Err(Error::request(
                    quantity,
                    "a hook that fires",
                    "that it did not",
                ))
            }
            None => Ok(()),
        }
    }

    fn shows(&self, quantity: &Quantity) -> bool {
        self.request.capture.contains(quantity)
    }

    fn truth(&self, name: &str) -> Option<&'q tlbench_sdk::Tensor> {
        match self.request.evaluation {
            Evaluation::Local => self.request.truth.get(name),
            Evaluation::Cumulative => None,
        }
    }

    fn edit(&self, hook: &HookPoint, value: &Tensor, edit: &Intervention) -> Result<Edit> {
        let shape = self.whole(hook, value);
        let subject = Subject {
            name: &hook.name,
            shape: &shape,
            position_axis: position_axis(hook),
            dtype: self.dtype,
        };
        let mut edit = Edit::new(edit, &self.request.operands, subject)?;
        for (dim, range) in self.window(hook) {
            edit = edit.narrowed(dim, range.start, range.len())?;
        }
        Ok(edit)
    }

    fn overwritten(
        &self,
        hook: &HookPoint,
        truth: &tlbench_sdk::Tensor,
        value: &Tensor,
    ) -> Result<Tensor> {
        let expected = self.whole(hook, value);
        if truth.shape() != expected {
            return Err(Error::request(
                &hook.name,
                format!("truth of shape {expected:?}"),
                format!("shape {:?}", truth.shape()),
            ));
        }
        let mut truth = to_candle(truth, self.dtype)?;
        for (dim, range) in self.window(hook) {
            truth = truth.narrow(dim, range.start, range.len())?;
        }
        Ok(truth.contiguous()?)
    }

    fn tapped(&mut self, hook: &'q HookPoint, value: Tensor) -> Result<Tensor> {
        let target = Target::HookGradient(hook.name.clone());
        let mut edits = Vec::new();
        for edit in interventions(self.request, &target) {
            edits.push(self.edit(hook, &value, edit)?);
        }
        if !self.differentiates() || (edits.is_empty() && !self.shows_gradient(&hook.name)) {
            return Ok(value);
        }
        let sink = Sink::default();
        let pieces = self.gradients.entry(&hook.name).or_default();
        pieces.push((sink.clone(), value.detach()));
        Ok(value.contiguous()?.apply_op1(Tap { sink, edits })?)
    }

    /// The shape of the value over all positions, of which `value` is a piece.
    fn whole(&self, hook: &HookPoint, value: &Tensor) -> Vec<usize> {
        let mut shape = value.dims().to_vec();
        for (dim, _) in self.window(hook) {
            shape[dim] = self.pos;
        }
        shape
    }

    /// By dimension, which part of a value over all positions is in the piece.
    fn window(&self, hook: &HookPoint) -> Vec<(usize, Range<usize>)> {
        let position = position_axis(hook).map(|dim| (dim, self.piece.clone()));
        let keys = key_axis(hook).map(|dim| (dim, 0..self.piece.end));
        position.into_iter().chain(keys).collect()
    }

    /// One piece after the other. Keys that a piece does not have yet are `masked` in it.
    fn joined(&self, hook: &HookPoint, pieces: &[Tensor], masked: f64) -> Result<Tensor> {
        let [.., last] = pieces else {
            return Err(Error::request(
                &hook.name,
                "a hook that fires",
                "that it did not",
            ));
        };
        let (Some(dim), true) = (position_axis(hook), pieces.len() > 1) else {
            return Ok(last.clone());
        };
        let with_all_keys = |piece: &Tensor| -> Result<Tensor> {
            let missing = match key_axis(hook) {
                Some(axis) => self.pos - piece.dim(axis)?,
                None => 0,
            };
            if missing == 0 {
                return Ok(piece.clone());
            }
            let mut shape = piece.dims().to_vec();
            *shape.last_mut().unwrap_or(&mut 0) = missing;
            let rest = Tensor::full(masked, shape, piece.device())?.to_dtype(piece.dtype())?;
            Ok(Tensor::cat(&[piece, &rest], D::Minus1)?)
        };
        let pieces = pieces
            .iter()
            .map(with_all_keys)
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&pieces, dim)?)
    }
}

/// Every hook that a question names.
fn named(request: &TraceRequest) -> impl Iterator<Item = &str> {
    let shown = request
        .capture
        .iter()
        .filter_map(|quantity| match quantity {
            Quantity::Hook(name) | Quantity::HookGradient(name) => Some(name.as_str()),
            _ => None,
        });
    let edited = request
        .interventions
        .iter()
        .filter_map(|edit| match &edit.target {
            Target::Hook(name) | Target::HookGradient(name) => Some(name.as_str()),
            Target::Weight(_) => None,
        });
    shown
        .chain(edited)
        .chain(request.truth.keys().map(String::as_str))
}

fn interventions<'q>(
    request: &'q TraceRequest,
    target: &Target,
) -> impl Iterator<Item = &'q Intervention> {
    request
        .interventions
        .iter()
        .filter(move |edit| edit.target == *target)
}

/// The dimension that counts positions, those of the queries where there are two kinds.
fn position_axis(hook: &HookPoint) -> Option<usize> {
    let find = |wanted: &Dim| hook.shape.iter().position(|dim| dim == wanted);
    find(&Dim::Pos).or_else(|| find(&Dim::KeyPos))
}

/// The dimension that counts keys beside queries.
fn key_axis(hook: &HookPoint) -> Option<usize> {
    let keys = hook.shape.iter().position(|dim| *dim == Dim::KeyPos);
    keys.filter(|&keys| Some(keys) != position_axis(hook))
}
