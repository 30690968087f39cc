//! The components of a spec by name, and the checkpoint tensors that they take.

use serde_json::Value;

use super::{
    AttentionSpec, Branch, BranchInput, DenseMlp, MlpSpec, ModelSpec, NormSpec, ProjectionSpec,
    TensorSource,
};

/// One component of a spec, named as its hooks are (`blocks.0.attn`, `ln_final`).
#[derive(Clone, Debug)]
pub struct Component<'a> {
    /// The prefix of its hooks.
    pub name: String,
    /// Its part of the spec.
    pub spec: Value,
    /// The config keys that it was made from.
    pub config_keys: Vec<String>,
    /// The checkpoint tensors that it takes, by role (`q.weight`).
    pub tensors: Vec<(String, &'a TensorSource)>,
}

impl ModelSpec {
    /// All components, in execution order.
    pub fn components(&self) -> Vec<Component<'_>> {
        let mut list = Vec::new();
        list.push(Component {
            name: "embed".into(),
            spec: json(&self.embedding.scale),
            config_keys: self.embedding.config_keys.clone(),
            tensors: vec![("weight".into(), &self.embedding.tokens)],
        });
        if let Some(norm) = &self.embedding.norm {
            list.push(norm_component("embed.ln".into(), norm));
        }
        if let Some(positions) = &self.embedding.positions {
            list.push(Component {
                name: "pos_embed".into(),
                spec: json(positions),
                config_keys: positions.config_keys.clone(),
                tensors: vec![("weight".into(), &positions.table)],
            });
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(branch) = &layer.attn {
                push_norms(&mut list, branch, index, "ln1", |list| {
                    list.push(attention_component(
                        format!("blocks.{index}.attn"),
                        &branch.body,
                    ));
                });
            }
            if let Some(branch) = &layer.mlp {
                push_norms(&mut list, branch, index, "ln2", |list| {
                    list.push(mlp_component(format!("blocks.{index}.mlp"), &branch.body));
                });
            }
        }
        if let Some(norm) = &self.final_norm {
            list.push(norm_component("ln_final".into(), norm));
        }
        let mut tensors = Vec::new();
        push_projection(&mut tensors, "", &self.unembed.projection);
        list.push(Component {
            name: "unembed".into(),
            spec: json(&self.unembed),
            config_keys: self.unembed.config_keys.clone(),
            tensors,
        });
        list
    }

    /// The component that `name` is, or is a part of: `blocks.0.attn` for `blocks.0.attn.q_norm`. One that the spec does not
    /// have keeps its name.
    pub fn component_of(&self, name: &str) -> String {
        let components = self.components();
        let is_known = |name: &str| components.iter().any(|component| component.name == name);
        // The norm of the embedding is no part of it.
        if name == "embed.ln" {
            return name.to_owned();
        }
        let mut rest = name;
        while !is_known(rest) {
            match rest.rsplit_once('.') {
                Some((outer, _)) => rest = outer,
                None => return name.to_owned(),
            }
        }
        rest.to_owned()
    }

    /// Every checkpoint tensor that the spec takes, with the component's name and the role in it.
    pub fn sources(&self) -> Vec<(String, &TensorSource)> {
        self.components()
            .into_iter()
            .flat_map(|component| {
                let name = component.name;
                component
                    .tensors
                    .into_iter()
                    .map(move |(role, source)| (format!("{name}.{role}"), source))
            })
            .collect()
    }
}

fn push_norms<'a, T>(
    list: &mut Vec<Component<'a>>,
    branch: &'a Branch<T>,
    index: usize,
    norm_name: &str,
    push_body: impl FnOnce(&mut Vec<Component<'a>>),
) {
    if let BranchInput::Norm(norm) = &branch.input {
        list.push(norm_component(format!("blocks.{index}.{norm_name}"), norm));
    }
    push_body(list);
    if let Some(norm) = &branch.output_norm {
        list.push(norm_component(
            format!("blocks.{index}.{norm_name}_post"),
            norm,
        ));
    }
    if let Some(norm) = &branch.sum_norm {
        list.push(norm_component(
            format!("blocks.{index}.{norm_name}_sum"),
            norm,
        ));
    }
}

fn norm_component(name: String, norm: &NormSpec) -> Component<'_> {
    let mut tensors = Vec::new();
    push_norm(&mut tensors, "", norm);
    Component {
        name,
        spec: json(norm),
        config_keys: norm.config_keys.clone(),
        tensors,
    }
}

fn attention_component(name: String, attention: &AttentionSpec) -> Component<'_> {
    let mut tensors = Vec::new();
    for (role, projection) in [
        ("q", &attention.q),
        ("k", &attention.k),
        ("v", &attention.v),
        ("o", &attention.o),
    ] {
        push_projection(&mut tensors, role, projection);
    }
    if let Some(norms) = &attention.qk_norm {
        push_norm(&mut tensors, "q_norm", &norms.q.norm);
        push_norm(&mut tensors, "k_norm", &norms.k.norm);
    }
    if let super::PositionSpec::RelativeBias(bias) = &attention.position {
        tensors.push(("relative_bias".into(), &bias.table));
    }
    if let Some(sinks) = &attention.sinks {
        tensors.push(("sinks".into(), sinks));
    }
    Component {
        name,
        spec: json(attention),
        config_keys: attention.config_keys.clone(),
        tensors,
    }
}

fn mlp_component(name: String, mlp: &MlpSpec) -> Component<'_> {
    let mut tensors = Vec::new();
    let config_keys = match mlp {
        MlpSpec::Dense(dense) => {
            push_dense(&mut tensors, "", dense);
            &dense.config_keys
        }
        MlpSpec::Moe(moe) => {
            push_projection(&mut tensors, "router", &moe.router);
            if let Some(bias) = &moe.choice_bias {
                tensors.push(("choice_bias".into(), bias));
            }
            for (index, expert) in moe.experts.iter().enumerate() {
                push_dense(&mut tensors, &format!("experts.{index}"), expert);
            }
            if let Some(shared) = &moe.shared {
                push_dense(&mut tensors, "shared", shared);
            }
            &moe.config_keys
        }
    };
    Component {
        name,
        spec: json(mlp),
        config_keys: config_keys.clone(),
        tensors,
    }
}

fn push_dense<'a>(tensors: &mut Vec<(String, &'a TensorSource)>, role: &str, dense: &'a DenseMlp) {
    push_projection(tensors, &join(role, "in"), &dense.input);
    if let Some(gate) = &dense.gate {
        push_projection(tensors, &join(role, "gate"), gate);
    }
    push_projection(tensors, &join(role, "out"), &dense.output);
}

fn push_projection<'a>(
    tensors: &mut Vec<(String, &'a TensorSource)>,
    role: &str,
    projection: &'a ProjectionSpec,
) {
    tensors.push((join(role, "weight"), &projection.weight));
    if let Some(bias) = &projection.bias {
        tensors.push((join(role, "bias"), bias));
    }
}

fn push_norm<'a>(tensors: &mut Vec<(String, &'a TensorSource)>, role: &str, norm: &'a NormSpec) {
    if let Some(gain) = &norm.gain {
        tensors.push((join(role, "weight"), gain));
    }
    if let Some(bias) = &norm.bias {
        tensors.push((join(role, "bias"), bias));
    }
}

/// A role within a component, by the part of it.
pub(super) fn join(role: &str, part: &str) -> String {
    if role.is_empty() {
        part.to_owned()
    } else {
        format!("{role}.{part}")
    }
}

/// A part of the spec as JSON; specs hold nothing that JSON cannot.
fn json<T: serde::Serialize>(part: &T) -> Value {
    serde_json::to_value(part).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_part_belongs_to_the_component_that_the_spec_has() {
        let spec = crate::fault::seed().spec;
        for (name, component) in [
            ("blocks.0.attn.q_norm", "blocks.0.attn"),
            ("blocks.0.ln1", "blocks.0.ln1"),
            ("blocks.0.ln1_post", "blocks.0.ln1_post"),
            ("embed.ln", "embed.ln"),
        ] {
            assert_eq!(spec.component_of(name), component);
        }
    }
}
