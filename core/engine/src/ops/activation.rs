//! Element-wise non-linearities, in the precision of the run and the order of operations that HF uses.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;
use tlbench_sdk::spec::Activation;

use super::{CHUNK, elements, in_precision, storage};

/// `activation(x)`, element by element. [`Activation::ClampedSwiglu`] is none of these.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activate(activation))
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType + Curves>(
            activation: Activation,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let function: fn(T) -> T = match activation {
                Activation::Gelu => T::gelu,
                Activation::GeluTanh => T::gelu_tanh,
                Activation::QuickGelu => T::quick_gelu,
                Activation::Silu => T::silu,
                Activation::Relu => T::relu,
                Activation::ReluSquared => |x| T::relu(x) * T::relu(x),
                Activation::ClampedSwiglu { .. } => {
                    return Err(candle_core::Error::Msg(
                        "a gated activation used element by element".into(),
                    ));
                }
            };
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
        in_precision!(x, run(self.0, x, layout))
    }
}

/// The functions behind HF's `ACT2FN` names (`transformers/activations.py`).
trait Curves: Sized {
    fn gelu(self) -> Self;
    fn gelu_tanh(self) -> Self;
    fn quick_gelu(self) -> Self;
    fn silu(self) -> Self;
    fn relu(self) -> Self;
}

macro_rules! curves {
    ($float:ident, $erf:path) => {
        impl Curves for $float {
            fn gelu(self) -> Self {
                0.5 * self * (1.0 + $erf(self * std::$float::consts::FRAC_1_SQRT_2))
            }

            fn gelu_tanh(self) -> Self {
                const SQRT_2_OVER_PI: $float =
                    std::$float::consts::FRAC_2_SQRT_PI * std::$float::consts::FRAC_1_SQRT_2;
                0.5 * self
                    * (1.0 + (SQRT_2_OVER_PI * (self + 0.044715 * (self * self * self))).tanh())
            }

            fn quick_gelu(self) -> Self {
                self / (1.0 + (-1.702 * self).exp())
            }

            fn silu(self) -> Self {
                self / (1.0 + (-self).exp())
            }

            fn relu(self) -> Self {
                // `max` would turn a NaN into 0.
                if self < 0.0 { 0.0 } else { self }
            }
        }
    };
}

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
