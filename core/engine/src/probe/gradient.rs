//! A hook on the way back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Tensor};

use crate::closures::{Calls, Way};
use crate::convert::to_candle;
use crate::edit::Edit;
use crate::ops;

/// The gradients that have come back to hooks.
#[derive(Clone, Default)]
pub(super) struct CapturedGradients(Arc<Mutex<BTreeMap<String, Tensor>>>);

impl CapturedGradients {
    pub(super) fn take(&self) -> BTreeMap<String, Tensor> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A norm that is read more than once shows its hooks each time: the gradient is the sum.
    fn add(&self, name: &str, gradient: &Tensor) -> Result<()> {
        let mut gradients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match gradients.get(name) {
            Some(others) => (others + gradient)?,
            None => gradient.clone(),
        };
        gradients.insert(name.to_owned(), sum);
        Ok(())
    }
}

/// The step from the value before a hook to the one that the model goes on with.
///
/// As in HookedTransformer, the gradient at a hook is the one by what the model goes on with, and an edited one goes to
/// what is before the hook as it is, past the edits of the value.
pub(super) struct HookOp {
    pub(super) name: String,
    pub(super) edits: Vec<Edit>,
    pub(super) gradient_edits: Vec<Edit>,
    /// Where the gradient is shown.
    pub(super) capture: Option<CapturedGradients>,
    /// The closures that see the gradient.
    pub(super) calls: Option<Calls>,
}

impl HookOp {
    /// `edited`, as something that comes of `value`.
    pub(super) fn apply(self, value: &Tensor, edited: &Tensor) -> Result<Tensor> {
        if !value.track_op() {
            return Ok(edited.clone());
        }
        value.apply_op2(&edited.contiguous()?, self)
    }

    /// What the closures put in the place of `gradient`, if anything.
    fn other(&self, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Some(calls) = &self.calls else {
            return Ok(None);
        };
        let other = calls.call(Way::Back, &self.name, gradient);
        let other = other.and_then(|other| other.as_ref().map(to_candle).transpose());
        other.map_err(Error::wrap)
    }
}

impl CustomOp2 for HookOp {
    fn name(&self) -> &'static str {
        "hook"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        edited: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        ops::copied(edited, layout)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if let Some(captured) = &self.capture {
            captured.add(&self.name, grad)?;
        }
        let mut is_edited = !self.gradient_edits.is_empty();
        let mut gradient = grad.clone();
        for edit in &self.gradient_edits {
            gradient = edit.apply(&gradient)?;
        }
        if let Some(other) = self.other(&gradient)? {
            (gradient, is_edited) = (other, true);
        }
        if !is_edited {
            for edit in self.edits.iter().rev() {
                gradient = edit.backward(&gradient)?;
            }
        }
        Ok((Some(gradient), None))
    }
}
