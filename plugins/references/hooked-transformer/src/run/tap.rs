//! Gradients of intermediate values, which candle drops once they were used.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};

use super::edit::Edit;

/// Where the gradient at one hook is put on the way back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<Mutex<Option<Tensor>>>);

impl Sink {
    /// The gradient, if any arrived.
    pub(crate) fn taken(&self) -> Option<Tensor> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Tensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The identity. On the way back it shows the gradient, which is complete by then, and then edits it.
pub(crate) struct Tap {
    pub(crate) sink: Sink,
    pub(crate) edits: Vec<Edit>,
}

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(Error::Msg("a tap on a value that is not contiguous".into()));
        };
        let copy = match storage {
            CpuStorage::F32(values) => CpuStorage::F32(values[start..end].to_vec()),
            CpuStorage::F64(values) => CpuStorage::F64(values[start..end].to_vec()),
            _ => return Err(Error::Msg("a tap on a value that is no f32 or f64".into())),
        };
        Ok((copy, layout.shape().clone()))
    }

    fn bwd(&self, _value: &Tensor, _same: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        *self.sink.slot() = Some(gradient.clone());
        let edited = self
            .edits
            .iter()
            .try_fold(gradient, |g, edit| edit.apply(&g))?;
        Ok(Some(edited))
    }
}
