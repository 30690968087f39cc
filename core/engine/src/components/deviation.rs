//! What a faulty implementation computes, where no spec can say it: for suites that are to notice.

use candle_core::{DType, Result, Tensor};
use tlbench_sdk::Deviation;
use tlbench_sdk::spec::{Mask, NormKind};

use super::Run;
use crate::error::EngineError;
use crate::ops::{self, Narrow};

impl Run<'_, '_> {
    pub(super) fn deviates(&self, deviation: Deviation) -> bool {
        self.deviation == Some(deviation)
    }

    /// `x` as it is, or stored in a narrower type by a run that deviates so.
    pub(super) fn narrowed(&self, deviation: Deviation, x: Tensor) -> Result<Tensor> {
        let narrow = match deviation {
            Deviation::ScoresInF16 => Narrow::F16,
            _ => Narrow::Bf16,
        };
        if !self.deviates(deviation) {
            return Ok(x);
        }
        ops::round(&x.to_dtype(DType::F32)?, narrow)?.to_dtype(x.dtype())
    }

    /// `mask` as this run has it.
    pub(super) fn masked_as(&self, mask: Mask) -> Mask {
        match mask {
            Mask::Band { back, .. }
                if self.is_cached() && self.deviates(Deviation::CacheUnmasked) =>
            {
                Mask::Band { back, ahead: None }
            }
            _ => mask,
        }
    }

    /// What a norm divides `x [.., width]` by, `[.., 1]`.
    pub(super) fn norm_scale(&self, x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
        if self.deviates(Deviation::EpsOutsideRoot) {
            return ops::norm_scale(x, kind, 0.0)? + eps;
        }
        ops::norm_scale(x, kind, eps)
    }

    /// The keys or values of a layer, `[batch, n_kv_heads, key_pos, d_head]`, of which the last `new` are this run's.
    pub(super) fn ordered(
        &self,
        all: Tensor,
        new: usize,
    ) -> std::result::Result<Tensor, EngineError> {
        let past = all.dim(2)? - new;
        if past == 0 || !self.deviates(Deviation::CachePrepends) {
            return Ok(all);
        }
        let (past, new) = (all.narrow(2, 0, past)?, all.narrow(2, past, new)?);
        Ok(Tensor::cat(&[new, past], 2)?)
    }
}
