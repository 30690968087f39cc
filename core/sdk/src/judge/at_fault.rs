//! Which component makes a value that is wrong.

use crate::benchmark::ModelInfo;
use crate::hooks::{layer_of, short_name};
use crate::spec::ModelSpec;
use crate::trace::Quantity;

/// Who is at fault where a value first differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtFault {
    /// As its hooks are named, which may be a part of a component (`blocks.0.attn.q_norm`).
    pub part: String,
    /// What says so, if it is more than the name of the hook.
    pub because: Option<String>,
}

impl AtFault {
    /// Who makes `quantity`, as far as its name and what `is_shown` before it tell.
    pub(super) fn of(
        model: &ModelInfo,
        quantity: &Quantity,
        is_shown: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let part = match quantity {
            Quantity::Hook(name) => maker(&model.spec, name, is_shown),
            // It comes from what follows the hook.
            Quantity::HookGradient(name) => {
                let place = model.hooks.iter().position(|hook| hook.name == *name)?;
                let mut behind = model.hooks[place + 1..].iter();
                let next = behind.find(|hook| hook.gate.is_none())?;
                maker(&model.spec, &next.name, is_shown)
            }
            Quantity::ParameterGradient(name) | Quantity::Weight(name) => owner(model, name)?,
            Quantity::Logits | Quantity::LogProbs => "unembed".into(),
            Quantity::LossPerToken | Quantity::Loss | Quantity::Generated => return None,
        };
        Some(Self {
            part,
            because: None,
        })
    }

    /// The component of `spec` that it is, or is a part of.
    pub fn component(&self, spec: &ModelSpec) -> String {
        spec.component_of(&self.part)
    }
}

/// Who makes the value at a hook. Between the normalised value of a norm, if that `is_shown`, and what the norm gives lie its
/// gain and bias alone.
fn maker(spec: &ModelSpec, hook: &str, is_shown: impl Fn(&str) -> bool) -> String {
    let is_normed = |norm: &str| is_shown(&format!("{norm}.hook_normalized"));
    let (prefix, short) = hook.rsplit_once('.').unwrap_or(("", hook));
    let layer = layer_of(hook).and_then(|index| spec.layers.get(index));
    let body = |norm: &str, body: &str, has_norm: bool| {
        let norm = format!("{prefix}.{norm}");
        if has_norm && is_normed(&norm) {
            norm
        } else {
            format!("{prefix}.{body}")
        }
    };
    match short_name(hook) {
        "hook_embed" if spec.embedding.norm.is_some() && is_normed("embed.ln") => "embed.ln".into(),
        "hook_embed" => "embed".into(),
        "hook_pos_embed" => "pos_embed".into(),
        "unembed.hook_in" if spec.final_norm.is_some() => "ln_final".into(),
        "hook_attn_out" => {
            let norm = layer.and_then(|layer| layer.attn.as_ref()?.output_norm.as_ref());
            body("ln1_post", "attn", norm.is_some())
        }
        "hook_mlp_out" => {
            let norm = layer.and_then(|layer| layer.mlp.as_ref()?.output_norm.as_ref());
            body("ln2_post", "mlp", norm.is_some())
        }
        _ if prefix.is_empty() => short.to_owned(),
        _ => prefix.to_owned(),
    }
}

/// Who takes the checkpoint tensor, or has the canonical weight, of this name.
fn owner(model: &ModelInfo, name: &str) -> Option<String> {
    let components = model.spec.components();
    let takes = components.iter().find(|component| {
        let sources = component.tensors.iter().map(|(_, source)| source);
        sources
            .flat_map(|source| &source.names)
            .any(|known| known == name)
    });
    let has = || {
        let (component, _) = name.rsplit_once('.')?;
        components.iter().find(|known| known.name == component)
    };
    takes.or_else(has).map(|component| component.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spec with every norm that there is, each of them without a gain.
    fn spec() -> ModelSpec {
        let mut spec = crate::fault::seed().spec;
        spec.embedding.norm.clone_from(&spec.final_norm);
        for layer in &mut spec.layers {
            layer
                .attn
                .as_mut()
                .unwrap()
                .output_norm
                .clone_from(&spec.final_norm);
            layer
                .mlp
                .as_mut()
                .unwrap()
                .output_norm
                .clone_from(&spec.final_norm);
        }
        spec
    }

    #[test]
    fn behind_a_normalised_value_that_is_shown_lie_gain_and_bias_alone() {
        let cases = [
            ("hook_embed", "embed.ln", "embed"),
            ("hook_pos_embed", "pos_embed", "pos_embed"),
            ("blocks.0.ln1.hook_scale", "blocks.0.ln1", "blocks.0.ln1"),
            ("blocks.0.attn.hook_q", "blocks.0.attn", "blocks.0.attn"),
            (
                "blocks.0.hook_attn_out",
                "blocks.0.ln1_post",
                "blocks.0.attn",
            ),
            ("blocks.0.hook_mlp_out", "blocks.0.ln2_post", "blocks.0.mlp"),
            ("blocks.0.hook_resid_post", "blocks.0", "blocks.0"),
            ("unembed.hook_in", "ln_final", "ln_final"),
            ("unembed.hook_out", "unembed", "unembed"),
        ];
        for (hook, shown, hidden) in cases {
            assert_eq!(maker(&spec(), hook, |_| true), shown, "{hook}");
            assert_eq!(maker(&spec(), hook, |_| false), hidden, "{hook}");
        }
    }

    #[test]
    fn without_norms_the_hook_is_of_the_component_that_it_is_named_after() {
        let mut bare = spec();
        bare.embedding.norm = None;
        bare.final_norm = None;
        assert_eq!(maker(&bare, "hook_embed", |_| true), "embed");
        assert_eq!(maker(&bare, "unembed.hook_in", |_| true), "unembed");
    }
}
