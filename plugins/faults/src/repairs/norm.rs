//! Norms: of the stream, of queries and keys.

use tlbench_sdk::spec::{NormKind, NormSpec};
use tlbench_sdk::{ModelSpec, Symptom};

use super::places::norms_by_name;
use super::tensors::left_norms;
use super::variant::{Parts, Variant, Variants, keys};

const EPSILONS: [f64; 8] = [1e-5, 1e-6, 1e-8, 1e-12, 1e-7, 1e-4, 1e-3, 0.0];

/// Every norm.
pub(super) struct Norms;

impl Parts<NormSpec> for Norms {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut NormSpec)> {
        norms_by_name(spec)
    }

    fn variants(
        &self,
        symptom: &Symptom,
        component: &str,
        norm: &NormSpec,
    ) -> Vec<Variant<NormSpec>> {
        let mut variants = Variants::of(norm);
        for eps in EPSILONS {
            let finding = format!("eps = {:e} where {eps:e} fits", norm.eps);
            variants.push("norm-eps", finding, |norm| norm.eps = eps);
        }
        kind(&mut variants);
        gain(&mut variants);
        left(&mut variants, symptom, component);
        variants.done()
    }

    fn look_at(&self, norm: &NormSpec) -> String {
        keys(&norm.config_keys)
    }
}

fn kind(variants: &mut Variants<'_, NormSpec>) {
    let finding = match variants.part().kind {
        NormKind::LayerNorm => "the mean is taken out where it fits to leave it in (RMSNorm)",
        NormKind::RmsNorm => "the mean is left in where it fits to take it out (LayerNorm)",
    };
    variants.push("norm-kind", finding, |norm| {
        norm.kind = match norm.kind {
            NormKind::LayerNorm => NormKind::RmsNorm,
            NormKind::RmsNorm => NormKind::LayerNorm,
        };
    });
}

fn gain(variants: &mut Variants<'_, NormSpec>) {
    let found = variants.part().gain_offset;
    for offset in [0.0, 1.0] {
        let finding = format!("{found} is added to the gain where {offset} fits");
        variants.push("norm-offset-missing", finding, |norm| {
            norm.gain_offset = offset;
        });
    }
    let finding = "there is a gain where none fits";
    variants.push("norm-gain-dropped", finding, |norm| {
        (norm.gain, norm.gain_offset) = (None, 0.0);
    });
    let finding = "there is a bias where none fits";
    variants.push("norm-bias-dropped", finding, |norm| norm.bias = None);
}

/// What the checkpoint holds, and nobody takes.
fn left(variants: &mut Variants<'_, NormSpec>, symptom: &Symptom, component: &str) {
    let norm = variants.part();
    let taken = norm.gain.as_ref().or(norm.bias.as_ref());
    let width = taken.and_then(|source| source.shape.first().copied());
    let missing = |name: &str| format!("`{name}` of the checkpoint is left out where it fits");
    for name in names_of(norm) {
        let left = |name: &str| {
            let mut left = symptom.tensors_not_taken.iter();
            let (name, shape) = left.find(|(known, _)| known == name)?;
            Some(tlbench_sdk::spec::TensorSource::new([name], shape.clone()))
        };
        if norm.bias.is_none()
            && let Some(bias) = left(&format!("{name}.bias"))
        {
            let finding = missing(&format!("{name}.bias"));
            variants.push("norm-bias-dropped", finding, |norm| norm.bias = Some(bias));
        }
        if norm.gain.is_none()
            && let Some(gain) = left(&format!("{name}.weight"))
        {
            for offset in [0.0, 1.0] {
                let name = format!("{name}.weight");
                let finding = match offset {
                    0.0 => missing(&name),
                    _ => format!("{} with 1 added", missing(&name)),
                };
                let gain = gain.clone();
                variants.push("norm-gain-dropped", finding, |norm| {
                    (norm.gain, norm.gain_offset) = (Some(gain), offset);
                });
            }
        }
    }
    for other in width.map_or(Vec::new(), |width| left_norms(symptom, component, width)) {
        let finding = format!("{component} takes another norm where `{}` fits", other.stem);
        variants.push("norm-shared", finding, |norm| {
            if norm.bias.is_some() {
                norm.bias = other.bias;
            }
            norm.gain = Some(other.gain);
        });
    }
}

/// What its tensors are called in front of `.weight` and `.bias`.
fn names_of(norm: &NormSpec) -> Vec<String> {
    let sources = [&norm.gain, &norm.bias].into_iter().flatten();
    let names = sources.flat_map(|source| &source.names);
    let stems = names.filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned()));
    let module = norm.module.iter().cloned();
    let mut stems: Vec<String> = stems.chain(module).collect();
    stems.sort();
    stems.dedup();
    stems
}
