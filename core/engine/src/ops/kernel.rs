//! Computations on the elements of tensors that nothing is differentiated through: backward passes, edits.

use candle_core::{CpuStorage, DType, Device, Error, Result, Storage, Tensor, WithDType};

use super::activation::Curves;
use super::elements;

/// The element types that values are computed in.
pub(crate) trait Real: WithDType + Curves {}

impl Real for f32 {}
impl Real for f64 {}

/// A computation on the elements of `N` tensors of one type.
pub(crate) trait Kernel<const N: usize> {
    /// The elements of the result.
    fn run<T: Real>(&self, operands: [&[T]; N]) -> Vec<T>;
}

/// What `kernel` makes of `operands`, as a tensor of `shape`.
pub(crate) fn run<const N: usize>(
    kernel: &impl Kernel<N>,
    operands: [&Tensor; N],
    shape: &[usize],
) -> Result<Tensor> {
    match operands[0].dtype() {
        DType::F32 => run_in::<f32, N>(kernel, operands, shape),
        DType::F64 => run_in::<f64, N>(kernel, operands, shape),
        _ => Err(Error::Msg(
            "an operand that is neither f32 nor f64".to_owned(),
        )),
    }
}

fn run_in<T: Real, const N: usize>(
    kernel: &impl Kernel<N>,
    operands: [&Tensor; N],
    shape: &[usize],
) -> Result<Tensor> {
    let operands: Vec<Tensor> = operands
        .iter()
        .map(|operand| operand.detach().contiguous())
        .collect::<Result<_>>()?;
    let stored: Vec<_> = operands.iter().map(Tensor::storage_and_layout).collect();
    let slices: Vec<&[T]> = stored
        .iter()
        .map(|(storage, layout)| elements::<T>(on_cpu(storage)?, layout))
        .collect::<Result<_>>()?;
    let slices = <[&[T]; N]>::try_from(slices)
        .map_err(|slices| Error::Msg(format!("{} operands", slices.len())))?;
    Tensor::from_vec(kernel.run(slices), shape, &Device::Cpu)
}

fn on_cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => Err(Error::Msg("an operand that is not on the CPU".to_owned())),
    }
}
