//! A gated activation of two clamped values.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::kernel::Real;
use super::{Kernel, elements, fill_rows, in_precision, run_kernel, storage};

/// `(up + 1) * gate * sigmoid(alpha * gate)`, where `gate` is at most `limit`, and `up` between `-limit` and `limit`.
pub(crate) fn clamped_swiglu(gate: &Tensor, up: &Tensor, alpha: f64, limit: f64) -> Result<Tensor> {
    let operation = ClampedSwiglu { alpha, limit };
    gate.contiguous()?.apply_op2(&up.contiguous()?, operation)
}

#[derive(Clone, Copy)]
struct ClampedSwiglu {
    alpha: f64,
    limit: f64,
}

impl ClampedSwiglu {
    /// NaN stays what it is, as in torch.
    fn clamped<T: Real>(self, gate: T, up: T) -> (T, T) {
        let (low, high) = (T::from_f64(-self.limit), T::from_f64(self.limit));
        let at_most = |value: T| if value > high { high } else { value };
        (at_most(gate), at_most(if up < low { low } else { up }))
    }

    /// torch lets a gradient through at the bound itself.
    fn is_bounded(self, value: f64) -> bool {
        value.abs() > self.limit
    }
}

impl CustomOp2 for ClampedSwiglu {
    fn name(&self) -> &'static str {
        "clamped-swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_at: &Layout,
        up: &CpuStorage,
        up_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            op: ClampedSwiglu,
            (gate, gate_at): (&CpuStorage, &Layout),
            (up, up_at): (&CpuStorage, &Layout),
        ) -> Result<(CpuStorage, Shape)> {
            let up = elements::<T>(up, up_at)?;
            let mut out = elements::<T>(gate, gate_at)?.to_vec();
            fill_rows(&mut out, 1, |index, out| {
                let (gate, up) = op.clamped(out[0], up[index]);
                let active = T::sigmoid_weighted(gate, op.alpha);
                out[0] = (up + T::from_f64(1.0)) * active;
            });
            Ok(storage(out, gate_at.shape()))
        }
        in_precision!(gate, run(*self, (gate, gate_at), (up, up_at)))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by_gate = run_kernel(&ByGate(*self), [gate, up, grad], gate.dims())?;
        let by_up = run_kernel(&ByUp(*self), [gate, up, grad], up.dims())?;
        Ok((Some(by_gate), Some(by_up)))
    }
}

struct ByGate(ClampedSwiglu);

impl Kernel<3> for ByGate {
    fn run<T: Real>(&self, [gate, up, grad]: [&[T]; 3]) -> Vec<T> {
        let mut out = grad.to_vec();
        fill_rows(&mut out, 1, |index, out| {
            let (clamped, up) = self.0.clamped(gate[index], up[index]);
            let slope = T::sigmoid_weighted_slope(clamped, self.0.alpha);
            let is_above = gate[index].to_f64() > self.0.limit;
            out[0] *= match is_above {
                true => T::from_f64(0.0),
                false => (up + T::from_f64(1.0)) * slope,
            };
        });
        out
    }
}

struct ByUp(ClampedSwiglu);

impl Kernel<3> for ByUp {
    fn run<T: Real>(&self, [gate, up, grad]: [&[T]; 3]) -> Vec<T> {
        let mut out = grad.to_vec();
        fill_rows(&mut out, 1, |index, out| {
            let (gate, _) = self.0.clamped(gate[index], up[index]);
            out[0] *= match self.0.is_bounded(up[index].to_f64()) {
                true => T::from_f64(0.0),
                false => T::sigmoid_weighted(gate, self.0.alpha),
            };
        });
        out
    }
}
