//! Element-wise non-linearities, in the precision of the run and the order of operations that HF uses.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use tlbench_sdk::spec::Activation;

use super::kernel::Real;
use super::{CHUNK, Kernel, elements, in_precision, run_kernel, storage};

/// `activation(x)`, element by element.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let curve = match activation {
        Activation::Gelu => Curve::Gelu,
        Activation::GeluTanh => Curve::GeluTanh,
        Activation::QuickGelu => Curve::QuickGelu,
        Activation::Silu => Curve::Silu,
        Activation::Relu => Curve::Relu,
        Activation::ReluSquared => Curve::ReluSquared,
        Activation::ClampedSwiglu { .. } => {
            return Err(Error::Msg(
                "a gated activation used element by element".into(),
            ));
        }
    };
    x.contiguous()?.apply_op1(curve)
}

/// `1 / (1 + exp(-x))`, element by element.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Curve::Sigmoid)
}

/// A function of one number.
#[derive(Clone, Copy)]
enum Curve {
    Sigmoid,
    Gelu,
    GeluTanh,
    QuickGelu,
    Silu,
    Relu,
    ReluSquared,
}

impl Curve {
    fn function<T: Real>(self) -> fn(T) -> T {
        match self {
            Self::Sigmoid => T::sigmoid,
            Self::Gelu => T::gelu,
            Self::GeluTanh => T::gelu_tanh,
            Self::QuickGelu => |x| T::sigmoid_weighted(x, 1.702),
            Self::Silu => |x| T::sigmoid_weighted(x, 1.0),
            Self::Relu => T::relu,
            Self::ReluSquared => |x| T::relu(x) * T::relu(x),
        }
    }

    /// The derivative. At the kink of a ReLU it is 0, as in torch.
    fn slope<T: Real>(self) -> fn(T) -> T {
        match self {
            Self::Sigmoid => T::sigmoid_slope,
            Self::Gelu => T::gelu_slope,
            Self::GeluTanh => T::gelu_tanh_slope,
            Self::QuickGelu => |x| T::sigmoid_weighted_slope(x, 1.702),
            Self::Silu => |x| T::sigmoid_weighted_slope(x, 1.0),
            Self::Relu => T::relu_slope,
            Self::ReluSquared => |x| T::relu(x) + T::relu(x),
        }
    }
}

impl CustomOp1 for Curve {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            function: fn(T) -> T,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(x, layout)?;
            let mut out = vec![T::from_f64(0.0); values.len()];
            out.par_chunks_mut(CHUNK)
                .zip(values.par_chunks(CHUNK))
                .for_each(|(out, values)| {
                    for (out, &value) in out.iter_mut().zip(values) {
                        *out = function(value);
                    }
                });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(x, run(self.function(), x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_kernel(&CurveBackward(*self), [x, grad], x.dims()).map(Some)
    }
}

struct CurveBackward(Curve);

impl Kernel<2> for CurveBackward {
    fn run<T: Real>(&self, [x, grad]: [&[T]; 2]) -> Vec<T> {
        let slope = self.0.slope::<T>();
        let mut out = grad.to_vec();
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(out, x)| {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out *= slope(x);
                }
            });
        out
    }
}

/// The functions behind HF's `ACT2FN` names (`transformers/activations.py`), and their derivatives.
pub(crate) trait Curves: Sized {
    fn sigmoid(self) -> Self;
    fn sigmoid_slope(self) -> Self;
    fn gelu(self) -> Self;
    fn gelu_slope(self) -> Self;
    fn gelu_tanh(self) -> Self;
    fn gelu_tanh_slope(self) -> Self;
    /// `x sigmoid(factor x)`.
    fn sigmoid_weighted(self, factor: f64) -> Self;
    fn sigmoid_weighted_slope(self, factor: f64) -> Self;
    fn relu(self) -> Self;
    fn relu_slope(self) -> Self;
}

macro_rules! curves {
    ($float:ident, $erf:path) => {
        impl Curves for $float {
            fn sigmoid(self) -> Self {
                1.0 / (1.0 + (-self).exp())
            }

            fn sigmoid_slope(self) -> Self {
                let sigmoid = Curves::sigmoid(self);
                sigmoid * (1.0 - sigmoid)
            }

            fn gelu(self) -> Self {
                0.5 * self * (1.0 + $erf(self * std::$float::consts::FRAC_1_SQRT_2))
            }

            fn gelu_slope(self) -> Self {
                const FRAC_1_SQRT_TAU: $float =
                    0.5 * std::$float::consts::FRAC_2_SQRT_PI * std::$float::consts::FRAC_1_SQRT_2;
                let density = FRAC_1_SQRT_TAU * (-0.5 * self * self).exp();
                0.5 * (1.0 + $erf(self * std::$float::consts::FRAC_1_SQRT_2)) + self * density
            }

            fn gelu_tanh(self) -> Self {
                0.5 * self
                    * (1.0
                        + (SQRT_2_OVER_PI as $float * (self + 0.044715 * (self * self * self)))
                            .tanh())
            }

            fn gelu_tanh_slope(self) -> Self {
                let inner = SQRT_2_OVER_PI as $float * (self + 0.044715 * (self * self * self));
                let inner_slope = SQRT_2_OVER_PI as $float * (1.0 + 3.0 * 0.044715 * (self * self));
                let tanh = inner.tanh();
                0.5 * (1.0 + tanh) + 0.5 * self * (1.0 - tanh * tanh) * inner_slope
            }

            fn sigmoid_weighted(self, factor: f64) -> Self {
                self / (1.0 + ((-factor) as $float * self).exp())
            }

            fn sigmoid_weighted_slope(self, factor: f64) -> Self {
                let factor = factor as $float;
                let sigmoid = 1.0 / (1.0 + (-factor * self).exp());
                sigmoid * (1.0 + factor * self * (1.0 - sigmoid))
            }

            fn relu(self) -> Self {
                // `max` would turn a NaN into 0.
                if self < 0.0 { 0.0 } else { self }
            }

            fn relu_slope(self) -> Self {
                if self <= 0.0 { 0.0 } else { 1.0 }
            }
        }
    };
}

const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

curves!(f32, libm::erff);
curves!(f64, libm::erf);

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Values of `torch.nn.functional` in f64.
    #[test]
    fn as_torch_computes_them() {
        let x = Tensor::from_slice(&[-2.0_f64, 0.5, 3.0], 3, &Device::Cpu).unwrap();
        for (activation, expected) in [
            (
                Activation::Gelu,
                [-0.045500263896358, 0.345731230637007, 2.99595030590511],
            ),
            (
                Activation::GeluTanh,
                [-0.045402305912225, 0.345714009825144, 2.996362607918227],
            ),
            (
                Activation::QuickGelu,
                [-0.064341376855792, 0.350388436606380, 2.981928690292214],
            ),
            (
                Activation::Silu,
                [-0.238405844044235, 0.311229665600927, 2.8577223804673],
            ),
            (Activation::Relu, [0.0, 0.5, 3.0]),
            (Activation::ReluSquared, [0.0, 0.25, 9.0]),
        ] {
            let found = activate(&x, activation).unwrap().to_vec1::<f64>().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{activation:?}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn nan_goes_through() {
        let x = Tensor::from_slice(&[f32::NAN], 1, &Device::Cpu).unwrap();
        for activation in [
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu,
        ] {
            assert!(activate(&x, activation).unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
        }
    }
}
