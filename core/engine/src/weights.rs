//! Checkpoint tensors as candle tensors: read once, and cut without a copy wherever the cut allows.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use tlbench_checkpoint::Weights;
use tlbench_sdk::spec::{Cut, ProjectionSpec, TensorSource};

use crate::components::Linear;
use crate::error::EngineError;
use crate::precision::Precision;

/// Reads what a spec takes.
pub(crate) struct Loader<'a> {
    weights: &'a Weights,
    precision: Precision,
    read: HashMap<String, Tensor>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(weights: &'a Weights, precision: Precision) -> Self {
        Self {
            weights,
            precision,
            read: HashMap::new(),
        }
    }

    /// The part of a checkpoint tensor that `source` means; it has to be of shape `expected`.
    pub(crate) fn part(
        &mut self,
        component: &str,
        source: &TensorSource,
        expected: &[usize],
    ) -> Result<Tensor, EngineError> {
        let found = source.cut_shape().map_err(|source| EngineError::Cut {
            component: component.to_owned(),
            source,
        })?;
        if found != expected {
            return Err(EngineError::PartShape {
                component: component.to_owned(),
                expected: expected.to_vec(),
                found,
            });
        }
        let whole = self.stored(source)?;
        Ok(source
            .cut
            .iter()
            .try_fold(whole, |tensor, cut| apply(cut, &tensor))?)
    }

    /// A linear map from `inputs` to `outputs` channels.
    pub(crate) fn linear(
        &mut self,
        component: &str,
        projection: &ProjectionSpec,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, EngineError> {
        let weight = self.part(
            &format!("{component}.weight"),
            &projection.weight,
            &[outputs, inputs],
        )?;
        let bias = match &projection.bias {
            Some(bias) => Some(self.part(&format!("{component}.bias"), bias, &[outputs])?),
            None => None,
        };
        Ok(Linear { weight, bias })
    }

    /// The stored tensor; parts of one tensor, and tied ones, share its memory.
    fn stored(&mut self, source: &TensorSource) -> Result<Tensor, EngineError> {
        let name = self.weights.resolve(source)?;
        if let Some(tensor) = self.read.get(name) {
            return Ok(tensor.clone());
        }
        let shape = source.shape.as_slice();
        let tensor = match self.precision {
            Precision::Double => {
                Tensor::from_vec(self.weights.read_f64(name)?, shape, &Device::Cpu)?
            }
            Precision::Single | Precision::Bf16 | Precision::F16 => {
                Tensor::from_vec(self.weights.read_f32(name)?, shape, &Device::Cpu)?
            }
        };
        let tensor = self.precision.store(tensor)?;
        self.read.insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }
}

fn apply(cut: &Cut, tensor: &Tensor) -> candle_core::Result<Tensor> {
    match cut {
        Cut::Transpose => tensor.t(),
        Cut::Slice { dim, start, len } => tensor.narrow(*dim, *start, *len),
        Cut::Reshape { shape } => tensor.reshape(shape.as_slice()),
        Cut::Permute { dims } => tensor.permute(dims.as_slice()),
        Cut::Add { values } => {
            let values = Tensor::from_vec(values.clone(), values.len(), &Device::Cpu)?
                .to_dtype(tensor.dtype())?;
            tensor.broadcast_add(&values)
        }
    }
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::Tensor as SdkTensor;

    use super::*;
    use crate::convert::{from_candle, to_candle};

    #[test]
    fn cuts_mean_the_same_here_as_in_the_sdk() {
        let whole = SdkTensor::from_vec((0..24).map(f64::from).collect(), &[4, 6]).unwrap();
        for cut in [
            Cut::Transpose,
            Cut::Slice {
                dim: 1,
                start: 2,
                len: 3,
            },
            Cut::Reshape {
                shape: vec![2, 2, 6],
            },
            Cut::Permute { dims: vec![1, 0] },
            Cut::Add { values: vec![0.5] },
            Cut::Add {
                values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            },
        ] {
            let here = from_candle(&apply(&cut, &to_candle(&whole).unwrap()).unwrap()).unwrap();
            assert_eq!(here, cut.apply(&whole).unwrap(), "{cut:?}");
        }
    }
}
