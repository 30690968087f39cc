//! Canonical weights out of a checkpoint, and gradients back to its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use half::{bf16, f16};
use tlbench_checkpoint::ModelFolder;
use tlbench_sdk::spec::{CanonicalWeight, Cut};
use tlbench_sdk::{Intervention, ModelSpec, Parameter, Target, TensorMap};

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::run::edited_weight;

/// The tensors of a folder, and what a spec cuts from each.
pub(crate) struct Checkpoint {
    folder: ModelFolder,
    /// By stored name.
    cut_from: BTreeMap<String, Vec<CanonicalWeight>>,
}

impl Checkpoint {
    pub(crate) fn open(path: &Path, spec: &ModelSpec) -> Result<Self> {
        let folder = ModelFolder::open(path)?;
        let mut cut_from: BTreeMap<String, Vec<CanonicalWeight>> = BTreeMap::new();
        for weight in spec.weights() {
            let stored = folder.weights().resolve(&weight.source)?.to_owned();
            cut_from.entry(stored).or_default().push(weight);
        }
        Ok(Self { folder, cut_from })
    }

    /// The tensors that the model takes.
    pub(crate) fn tensors(&self) -> Result<Vec<Parameter>> {
        let names = self.cut_from.keys();
        let tensor = |name: &String| {
            Ok(Parameter {
                name: name.clone(),
                shape: self.folder.weights().shape(name)?.to_vec(),
            })
        };
        names.map(tensor).collect()
    }

    /// Every canonical weight in the precision that it is stored in; those that are cut from one tensor share its memory.
    pub(crate) fn parameters(&self) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        for (stored, weights) in &self.cut_from {
            cut(&self.read(stored)?, weights, &mut parameters)?;
        }
        Ok(parameters)
    }

    /// `parameters` with what is cut from checkpoint tensors that `interventions` edit cut from the edited ones.
    pub(crate) fn with_edited_tensors(
        &self,
        mut parameters: Parameters,
        interventions: &[Intervention],
        operands: &TensorMap,
    ) -> Result<Parameters> {
        for (stored, weights) in &self.cut_from {
            let is_about = |edit: &&Intervention| matches!(&edit.target, Target::Weight(name) if name == stored);
            let mut edits = interventions.iter().filter(is_about).peekable();
            if edits.peek().is_none() {
                continue;
            }
            let mut whole = self.read(stored)?.to_dtype(DType::F64)?;
            for edit in edits {
                whole = edited_weight(stored, &whole, edit, operands)?;
            }
            cut(&whole, weights, &mut parameters)?;
        }
        Ok(parameters)
    }

    /// The canonical weights that are cut from the tensor `stored`.
    pub(crate) fn cut_from(&self, stored: &str) -> Option<&[CanonicalWeight]> {
        self.cut_from.get(stored).map(Vec::as_slice)
    }

    fn read(&self, stored: &str) -> Result<Tensor> {
        let weights = self.folder.weights();
        let (shape, cpu) = (weights.shape(stored)?, &Device::Cpu);
        Ok(match weights.dtype(stored)? {
            tlbench_sdk::DType::F32 => {
                Tensor::from_vec(weights.read_vec::<f32>(stored)?, shape, cpu)?
            }
            tlbench_sdk::DType::F16 => {
                Tensor::from_vec(weights.read_vec::<f16>(stored)?, shape, cpu)?
            }
            tlbench_sdk::DType::BF16 => {
                Tensor::from_vec(weights.read_vec::<bf16>(stored)?, shape, cpu)?
            }
            _ => Tensor::from_vec(weights.read_f64(stored)?, shape, cpu)?,
        })
    }
}

fn cut(whole: &Tensor, weights: &[CanonicalWeight], parameters: &mut Parameters) -> Result<()> {
    for weight in weights {
        let part = weight
            .source
            .cut
            .iter()
            .try_fold(whole.clone(), |part, cut| {
                let shape = cut.shape(part.dims()).map_err(|source| Error::Cut {
                    weight: weight.name.clone(),
                    source,
                })?;
                applied(cut, &part, &shape)
            })?;
        parameters.set(&weight.name, part);
    }
    Ok(())
}

/// The part of `whole`, of shape `shape`, that `cut` means.
fn applied(cut: &Cut, whole: &Tensor, shape: &[usize]) -> Result<Tensor> {
    Ok(match cut {
        Cut::Transpose => whole.transpose(D::Minus2, D::Minus1)?,
        Cut::Slice { dim, start, len } => whole.narrow(*dim, *start, *len)?,
        Cut::Reshape { .. } => whole.reshape(shape)?,
        Cut::Permute { dims } => whole.permute(dims.as_slice())?,
        Cut::Add { values } => {
            let summands = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            whole.to_dtype(DType::F64)?.broadcast_add(&summands)?
        }
    })
}

/// The gradient by a whole checkpoint tensor, by way of `weight`, which is cut from it.
pub(crate) fn uncut(weight: &CanonicalWeight, gradient: &Tensor) -> Result<Tensor> {
    let failed = |source| Error::Cut {
        weight: weight.name.clone(),
        source,
    };
    let mut shapes = vec![weight.source.shape.clone()];
    for cut in &weight.source.cut {
        let before = &shapes[shapes.len() - 1];
        shapes.push(cut.shape(before).map_err(failed)?);
    }
    let mut gradient = gradient.clone();
    for (cut, before) in weight.source.cut.iter().zip(&shapes).rev() {
        gradient = match cut {
            Cut::Transpose => gradient.transpose(D::Minus2, D::Minus1)?,
            Cut::Slice { dim, start, len } => {
                let after = before[*dim] - start - len;
                gradient.contiguous()?.pad_with_zeros(*dim, *start, after)?
            }
            Cut::Reshape { .. } => gradient.reshape(before.as_slice())?,
            Cut::Permute { dims } => gradient.permute(inverse(dims))?,
            // A constant that was added has no gradient.
            Cut::Add { .. } => gradient,
        };
    }
    Ok(gradient.contiguous()?)
}

/// The permutation that undoes `dims`.
fn inverse(dims: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; dims.len()];
    for (after, &before) in dims.iter().enumerate() {
        inverse[before] = after;
    }
    inverse
}
