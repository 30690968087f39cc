//! Weights in which no fault of a port hides: gains off 1, biases off 0, and rows of the embedding so unlike in size
//! that an epsilon shows.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};
use tlbench_sdk::spec::{Branch, BranchInput, CutError, NormSpec, TensorSource};
use tlbench_sdk::{DType, ModelSpec, ShapeError, Tensor, noise, uniform};

/// The size of the smallest rows of the embedding; that of the largest is 1.
const FAINTEST: f64 = 0.01;
/// The size of biases.
const BIAS: f64 = 0.3;

/// A spec of which no tensors can be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// A tensor is cut in a way that does not fit it.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// A tensor is larger than memory.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Draws the stored tensors of `spec`, each once, however many components take parts of it. The same `seed` draws the
/// same on every machine.
pub(super) fn draw(
    spec: &ModelSpec,
    dtype: DType,
    seed: u64,
) -> Result<BTreeMap<String, Tensor>, DrawError> {
    let centres = centres(spec);
    let mut tensors = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for (role, source) in spec.sources() {
        let mut names = source.names.iter().map(String::as_str);
        // Under any of its names: a tied head is the embedding.
        if names.clone().any(|name| known.contains(name)) {
            continue;
        }
        let Some(name) = names.next() else { continue };
        // Each tensor has a stream of its own.
        let stream = seed.wrapping_shl(32).wrapping_add(known.len() as u64);
        let values = match *source.cut_shape()?.as_slice() {
            _ if role == "embed.weight" => rows(source, stream),
            [_] => match centres.get(name) {
                Some(&centre) => gains(source, centre, stream),
                None => scaled(source, BIAS, stream),
            },
            [.., inputs] => scaled(source, (inputs as f64).sqrt().recip(), stream),
            [] => scaled(source, 1.0, stream),
        };
        tensors.insert(name.to_owned(), rounded(&values, dtype, &source.shape)?);
        known.insert(name);
    }
    Ok(tensors)
}

fn scaled(source: &TensorSource, size: f64, stream: u64) -> Vec<f64> {
    let drawn = noise(stream, source.shape.iter().product());
    drawn.into_iter().map(|value| size * value).collect()
}

/// Between a half below and a half above the `centre`.
fn gains(source: &TensorSource, centre: f64, stream: u64) -> Vec<f64> {
    let count = source.shape.iter().product();
    let drawn = (0..count).map(|index| uniform(stream, index));
    drawn.map(|value| centre - 0.5 + value).collect()
}

/// Rows whose sizes are even in the logarithm.
fn rows(source: &TensorSource, stream: u64) -> Vec<f64> {
    let drawn = scaled(source, 1.0, stream);
    let width = source.shape.last().copied().unwrap_or(1).max(1);
    // Another stream than that of the elements.
    let size = |row: usize| FAINTEST.powf(uniform(!stream, row));
    let elements = drawn.into_iter().enumerate();
    elements
        .map(|(index, value)| value * size(index / width))
        .collect()
}

fn rounded(values: &[f64], dtype: DType, shape: &[usize]) -> Result<Tensor, ShapeError> {
    let values = values.iter().copied();
    match dtype {
        DType::BF16 => Tensor::from_vec(values.map(bf16::from_f64).collect(), shape),
        DType::F16 => Tensor::from_vec(values.map(f16::from_f64).collect(), shape),
        _ => Tensor::from_vec(values.map(|value| value as f32).collect::<Vec<_>>(), shape),
    }
}

/// Where gains are stored around, by the tensor's name, so that they are used around 1.
fn centres(spec: &ModelSpec) -> BTreeMap<&str, f64> {
    let mut norms: Vec<&NormSpec> = Vec::new();
    norms.extend(&spec.embedding.norm);
    for layer in &spec.layers {
        if let Some(branch) = &layer.attn {
            norms.extend(branch_norms(branch));
            let of_heads = branch.body.qk_norm.iter();
            norms.extend(of_heads.flat_map(|norms| [&norms.q.norm, &norms.k.norm]));
        }
        norms.extend(layer.mlp.iter().flat_map(branch_norms));
    }
    norms.extend(&spec.final_norm);
    let centre = |norm: &&'_ NormSpec| 1.0 - norm.gain_offset;
    let mut centres = BTreeMap::new();
    for norm in norms {
        let names = norm.gain.iter().flat_map(|gain| &gain.names);
        centres.extend(names.map(|name| (name.as_str(), centre(&norm))));
    }
    centres
}

fn branch_norms<T>(branch: &Branch<T>) -> Vec<&NormSpec> {
    let input = match &branch.input {
        BranchInput::Norm(norm) => Some(norm),
        _ => None,
    };
    let others = [&branch.output_norm, &branch.sum_norm];
    let others = others.into_iter().filter_map(Option::as_ref);
    input.into_iter().chain(others).collect()
}
