//! What a checkpoint holds for a place that takes nothing of it.

use tlbench_sdk::spec::{Cut, NormKind, NormSpec, ProjectionSpec, TensorSource};
use tlbench_sdk::{ModelSpec, Symptom};

use super::places::norms_by_name;

/// A gain, and perhaps a bias, that no norm takes.
pub(super) struct LeftNorm {
    pub(super) stem: String,
    pub(super) gain: TensorSource,
    pub(super) bias: Option<TensorSource>,
}

impl LeftNorm {
    /// A norm of the kind that the first one of `spec` is.
    pub(super) fn like_others(self, spec: &ModelSpec) -> NormSpec {
        let mut spec = spec.clone();
        let other = norms_by_name(&mut spec).into_iter().next();
        let (kind, eps, gain_offset) = other.map_or((NormKind::RmsNorm, 1e-6, 0.0), |(_, norm)| {
            (norm.kind, norm.eps, norm.gain_offset)
        });
        NormSpec {
            kind,
            eps,
            gain_offset,
            gain: Some(self.gain),
            bias: self.bias,
            module: Some(self.stem),
            config_keys: Vec::new(),
        }
    }
}

/// Norms over `width` channels that the checkpoint has near `component`, and that the spec does not take.
pub(super) fn left_norms(symptom: &Symptom, component: &str, width: usize) -> Vec<LeftNorm> {
    let left = &symptom.tensors_not_taken;
    let of = |(name, shape): &(String, Vec<usize>)| {
        let stem = name.strip_suffix(".weight")?;
        let bias = format!("{stem}.bias");
        let has_bias = left.iter().any(|(name, _)| *name == bias);
        (*shape == [width] && is_near(name, component)).then(|| LeftNorm {
            stem: stem.to_owned(),
            gain: TensorSource::new([name], [width]),
            bias: has_bias.then(|| TensorSource::new([bias], [width])),
        })
    };
    left.iter().filter_map(of).collect()
}

/// Matrices of `shape` that the checkpoint has outside of blocks, and that the spec does not take.
pub(super) fn left_tables(symptom: &Symptom, fits: impl Fn(&[usize]) -> bool) -> Vec<TensorSource> {
    let left = symptom.tensors_not_taken.iter();
    let near = left.filter(|(name, shape)| is_near(name, "") && fits(shape));
    near.map(|(name, shape)| TensorSource::new([name], shape.clone()))
        .collect()
}

/// In the block that `component` is in; or, as that is in none, in none.
fn is_near(name: &str, component: &str) -> bool {
    let number = |name: &str| name.split('.').find_map(|part| part.parse::<usize>().ok());
    number(name) == number(component)
}

/// The bias that the checkpoint has beside the weight of `projection`, cut as the weight is.
pub(super) fn bias_beside(symptom: &Symptom, projection: &ProjectionSpec) -> Option<TensorSource> {
    let weight = &projection.weight;
    let names: Vec<String> = weight
        .names
        .iter()
        .filter_map(|name| Some(format!("{}.bias", name.strip_suffix(".weight")?)))
        .collect();
    let &[rows, columns] = weight.shape.as_slice() else {
        return None;
    };
    // Conv1D stores inputs first.
    let is_turned = weight.cut.contains(&Cut::Transpose);
    let shape = vec![if is_turned { columns } else { rows }];
    let is_there = names.iter().any(|name| has(symptom, name, &shape));
    let cut = weight.cut.iter();
    let cut = cut.filter_map(|cut| without_inputs(cut, is_turned));
    is_there.then(|| TensorSource {
        names,
        shape,
        cut: cut.collect(),
    })
}

/// Whether the checkpoint has it, whoever takes it.
fn has(symptom: &Symptom, name: &str, shape: &[usize]) -> bool {
    let mut left = symptom.tensors_not_taken.iter();
    left.any(|(known, of)| known == name && of == shape) || takes(&symptom.spec, name)
}

fn takes(spec: &ModelSpec, name: &str) -> bool {
    let sources = spec.sources().into_iter();
    let mut names = sources.flat_map(|(_, source)| &source.names);
    names.any(|known| known == name)
}

/// What a step that cuts a weight `[outputs, inputs]`, or the reverse, is to its bias.
fn without_inputs(cut: &Cut, is_turned: bool) -> Option<Cut> {
    match cut {
        Cut::Slice { dim, start, len } => Some(Cut::Slice {
            dim: dim - usize::from(is_turned && *dim > 0),
            start: *start,
            len: *len,
        }),
        Cut::Reshape { shape } => Some(Cut::Reshape {
            shape: shape.get(..shape.len() - 1)?.to_vec(),
        }),
        Cut::Permute { dims } => Some(Cut::Permute {
            dims: dims.get(..dims.len() - 1)?.to_vec(),
        }),
        Cut::Transpose | Cut::Add { .. } => None,
    }
}
