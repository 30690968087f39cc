//! Checkpoint tensors as candle tensors: read once, and cut without a copy wherever the cut allows.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use tlbench_checkpoint::Weights;
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{CanonicalWeight, Cut, ProjectionSpec, TensorSource};

use crate::components::Linear;
use crate::error::EngineError;
use crate::in_order::laid_out;
use crate::precision::Precision;

/// The tensors that a spec takes, by the name that each is stored under.
#[derive(Clone)]
pub(crate) struct Parameters {
    tensors: BTreeMap<String, Tensor>,
}

#[cfg(test)]
impl From<BTreeMap<String, Tensor>> for Parameters {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { tensors }
    }
}

impl Parameters {
    /// Reads what `spec` takes; parts of one tensor, and tied ones, share its memory.
    pub(crate) fn read(
        spec: &ModelSpec,
        weights: &Weights,
        precision: Precision,
    ) -> Result<Self, EngineError> {
        let mut tensors = BTreeMap::new();
        for (_, source) in spec.sources() {
            let name = weights.resolve(source)?;
            if !tensors.contains_key(name) {
                let shape = weights.shape(name)?;
                let tensor = read(weights, name, shape, precision)?;
                tensors.insert(name.to_owned(), tensor);
            }
        }
        Ok(Self { tensors })
    }

    /// The tensor that `source` is cut from, and the name that it is stored under.
    fn whole(
        &self,
        component: &str,
        source: &TensorSource,
    ) -> Result<(&str, &Tensor), EngineError> {
        let stored = self
            .stored(source)
            .and_then(|name| self.tensors.get_key_value(name));
        let (name, tensor) = stored.ok_or_else(|| {
            EngineError::request(component, source.names.join(" or "), "no such tensor")
        })?;
        Ok((name, tensor))
    }

    /// The name, of those that `source` may have, that its tensor is stored under.
    pub(crate) fn stored<'s>(&self, source: &'s TensorSource) -> Option<&'s str> {
        let mut names = source.names.iter();
        names
            .find(|name| self.tensors.contains_key(*name))
            .map(String::as_str)
    }

    /// The tensor stored as `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Stores `tensor` as `name`, in the place of what was stored so.
    pub(crate) fn insert(&mut self, name: String, tensor: Tensor) {
        self.tensors.insert(name, tensor);
    }

    /// The part of a stored tensor that `source` means, whatever its shape.
    pub(crate) fn cut(
        &self,
        component: &str,
        source: &TensorSource,
    ) -> Result<Tensor, EngineError> {
        let whole = self.whole(component, source)?.1.clone();
        let mut cuts = source.cut.iter();
        Ok(cuts.try_fold(whole, |tensor, cut| apply(cut, &tensor))?)
    }

    /// The tensors that `weights` are cut from, each stored under the weight's name, in the same memory.
    pub(crate) fn renamed(&self, weights: &[CanonicalWeight]) -> Result<Self, EngineError> {
        let tensors = weights.iter().map(|CanonicalWeight { name, source }| {
            Ok((name.clone(), self.whole(name, source)?.1.clone()))
        });
        Ok(Self {
            tensors: tensors.collect::<Result<_, EngineError>>()?,
        })
    }

    /// Lays the tensor stored in canonical layout as `weight` out in memory as its component takes it, so that the part
    /// of it is a view.
    pub(crate) fn lay_out(&mut self, weight: &CanonicalWeight) -> Result<(), EngineError> {
        // To the component's layout, which copies where it is another one, and back by views.
        let laid_out = self.cut(&weight.name, &weight.source)?;
        self.insert(weight.name.clone(), laid_out);
        Ok(())
    }
}

fn read(
    weights: &Weights,
    name: &str,
    shape: &[usize],
    precision: Precision,
) -> Result<Tensor, EngineError> {
    let tensor = match precision {
        Precision::Double => Tensor::from_vec(weights.read_f64(name)?, shape, &Device::Cpu)?,
        Precision::Single | Precision::Bf16 | Precision::F16 => {
            Tensor::from_vec(weights.read_f32(name)?, shape, &Device::Cpu)?
        }
    };
    Ok(precision.store(tensor)?)
}

/// What a component takes of a stored tensor.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) values: Tensor,
    /// How it was cut, from the one tensor that it is of.
    pub(crate) source: TensorSource,
}

impl Part {
    /// The same with its values in one piece.
    pub(crate) fn contiguous(self) -> candle_core::Result<Self> {
        Ok(Self {
            values: self.values.contiguous()?,
            ..self
        })
    }

    /// The same cut once more.
    pub(crate) fn cut(&self, cut: &Cut) -> candle_core::Result<Self> {
        Ok(Self {
            values: apply(cut, &self.values)?,
            source: self.source.clone().cut(cut.clone()),
        })
    }
}

/// Cuts what components take.
pub(crate) struct Loader<'a> {
    parameters: &'a Parameters,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(parameters: &'a Parameters) -> Self {
        Self { parameters }
    }

    /// The part of a checkpoint tensor that `source` means; it has to be of shape `expected`.
    pub(crate) fn part(
        &self,
        component: &str,
        source: &TensorSource,
        expected: &[usize],
    ) -> Result<Part, EngineError> {
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
        let (name, whole) = self.parameters.whole(component, source)?;
        let values = source
            .cut
            .iter()
            .try_fold(whole.clone(), |tensor, cut| apply(cut, &tensor))?;
        Ok(Part {
            values,
            source: TensorSource {
                names: vec![name.to_owned()],
                ..source.clone()
            },
        })
    }

    /// A linear map from `inputs` to `outputs` channels.
    pub(crate) fn linear(
        &self,
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
}

/// What `cut` makes of `tensor`, a view of it wherever that can be.
pub(crate) fn apply(cut: &Cut, tensor: &Tensor) -> candle_core::Result<Tensor> {
    match cut {
        Cut::Transpose => tensor.t(),
        Cut::Slice { dim, start, len } => tensor.narrow(*dim, *start, *len),
        Cut::Reshape { shape } => laid_out(tensor)?.reshape(shape.as_slice()),
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
