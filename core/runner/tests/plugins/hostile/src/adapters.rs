//! Specs that no model can have.

use tlbench_sdk::spec::{AttentionSpec, Cut, HfTap};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

use crate::adapter::Gpt2;

/// An id, and what is done to GPT-2's spec.
pub(crate) struct Hostile(pub(crate) &'static str, pub(crate) fn(&mut ModelSpec));

impl ArchitectureAdapter for Hostile {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: self.0.into(),
            description: "GPT-2 as no model can be".into(),
            model_types: Vec::new(),
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let mut spec = Gpt2.spec(config)?;
        (self.1)(&mut spec);
        Ok(spec)
    }
}

fn each_attention(spec: &mut ModelSpec, edit: impl Fn(&mut AttentionSpec)) {
    for branch in spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.attn.as_mut())
    {
        edit(&mut branch.body);
    }
}

pub(crate) fn nan_eps(spec: &mut ModelSpec) {
    if let Some(norm) = &mut spec.final_norm {
        norm.eps = f64::NAN;
    }
}

pub(crate) fn infinite_scale(spec: &mut ModelSpec) {
    each_attention(spec, |attention| attention.scale = f64::INFINITY);
}

pub(crate) fn zero_heads(spec: &mut ModelSpec) {
    each_attention(spec, |attention| attention.n_heads = 0);
}

pub(crate) fn huge_vocabulary(spec: &mut ModelSpec) {
    spec.d_vocab = usize::MAX;
}

pub(crate) fn endless_layers(spec: &mut ModelSpec) {
    spec.layers = vec![spec.layers[0].clone(); 20_000];
}

pub(crate) fn misfit_cut(spec: &mut ModelSpec) {
    each_attention(spec, |attention| {
        attention.q.weight.cut = vec![Cut::Reshape {
            shape: vec![usize::MAX, 2],
        }];
    });
}

pub(crate) fn nameless_tensor(spec: &mut ModelSpec) {
    each_attention(spec, |attention| attention.o.weight.names.clear());
}

pub(crate) fn stray_tap(spec: &mut ModelSpec) {
    let tap = HfTap::output("transformer.h.1");
    spec.layers[1].taps.insert("attn.hook_zz".into(), tap);
}

pub(crate) fn bad_pattern(spec: &mut ModelSpec) {
    spec.ignored_tensors = vec!["[a".into()];
}

pub(crate) fn painted_tensor(spec: &mut ModelSpec) {
    spec.embedding.tokens.names = vec!["\u{1b}[2J\u{1b}[Hall is well".into()];
}

/// An adapter with a lot to say.
pub(crate) struct Verbose;

impl ArchitectureAdapter for Verbose {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "verbose".into(),
            description: "refuses at length".into(),
            model_types: Vec::new(),
        }
    }

    fn spec(&self, _: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let expected = format!("less\n{}", "and less ".repeat(100_000));
        Err(ConfigError::new("n_embd", expected, "more"))
    }
}
