use std::collections::BTreeSet;

use tlbench_sdk::spec::{
    Activation, BranchInput, DenseMlp, MlpSpec, NormSpec, Pairing, PositionSpec, RotaryScaling,
    RotarySpec, Wiring,
};
use tlbench_sdk::{ModelSpec, Remedy, Repair, Symptom};

use super::repairs;

/// The spec of a small GPT-2.
fn right() -> ModelSpec {
    let seed = include_str!("../../../../core/fuzz/seeds/boundary/symptom");
    let (_, json) = seed.split_once("\n\n").unwrap();
    let symptom: Symptom = serde_json::from_str(json).unwrap();
    symptom.spec
}

/// What may be wrong at `component` of `wrong`, where the checkpoint has all that the right model takes.
fn repaired(wrong: &ModelSpec, component: &str) -> Vec<Repair> {
    let taken = |spec: &ModelSpec| -> BTreeSet<(String, Vec<usize>)> {
        let sources = spec.sources().into_iter();
        sources
            .map(|(_, source)| (source.names[0].clone(), source.shape.clone()))
            .collect()
    };
    let left = taken(&right()).difference(&taken(wrong)).cloned().collect();
    repairs(&Symptom {
        spec: wrong.clone(),
        component: component.to_owned(),
        hook: String::new(),
        tensors_not_taken: left,
        config: serde_json::Map::new(),
    })
}

fn input_norm(spec: &mut ModelSpec, of_mlp: bool) -> &mut NormSpec {
    let layer = &mut spec.layers[0];
    let input = if of_mlp {
        &mut layer.mlp.as_mut().unwrap().input
    } else {
        &mut layer.attn.as_mut().unwrap().input
    };
    match input {
        BranchInput::Norm(norm) => norm,
        other => panic!("no norm: {other:?}"),
    }
}

fn mlp(spec: &mut ModelSpec) -> &mut DenseMlp {
    match &mut spec.layers[0].mlp.as_mut().unwrap().body {
        MlpSpec::Dense(dense) => dense,
        other => panic!("not dense: {other:?}"),
    }
}

#[test]
fn what_was_changed_in_a_component_is_changed_back_by_one_of_its_repairs() {
    type Edit = fn(&mut ModelSpec);
    let edits: [(&str, Edit); 8] = [
        ("blocks.0.ln1", |spec| input_norm(spec, false).eps = 1e-6),
        ("blocks.0.mlp", |spec| {
            mlp(spec).activation = Activation::Gelu;
        }),
        ("blocks.0.attn", |spec| {
            spec.layers[0].attn.as_mut().unwrap().body.scale = 1.0;
        }),
        ("blocks.0.attn", |spec| {
            let attention = &mut spec.layers[0].attn.as_mut().unwrap().body;
            std::mem::swap(&mut attention.q, &mut attention.k);
        }),
        ("blocks.0.attn", |spec| {
            spec.layers[0].attn.as_mut().unwrap().body.q.bias = None;
        }),
        ("blocks.0.mlp", |spec| mlp(spec).output.bias = None),
        ("blocks.0", |spec| {
            spec.layers[0].wiring = Wiring::Parallel;
        }),
        ("pos_embed", |spec| {
            spec.embedding.positions.as_mut().unwrap().offset = 1;
        }),
    ];
    let mut told = Vec::new();
    for (component, edit) in edits {
        let mut wrong = right();
        edit(&mut wrong);
        let fitting =
            repaired(&wrong, component)
                .into_iter()
                .find_map(|repair| match repair.remedy {
                    Remedy::Spec { finding, spec } if *spec == right() => Some(format!(
                        "{}: {finding}; look at {}",
                        repair.fault, repair.look_at
                    )),
                    _ => None,
                });
        told.push(format!(
            "{component}: {}",
            fitting.as_deref().unwrap_or("NOTHING FITS")
        ));
    }
    let told = told.join("\n");
    assert!(!told.contains("NOTHING FITS"), "{told}");
    insta::assert_snapshot!(told);
}

/// What may be wrong with the rotary positions of all blocks, where config.json says `config`.
fn of_rotary(found: &RotarySpec, config: &serde_json::Value) -> Vec<String> {
    let mut spec = right();
    for layer in &mut spec.layers {
        layer.attn.as_mut().unwrap().body.position = PositionSpec::Rotary(found.clone());
    }
    let repairs = repairs(&Symptom {
        spec,
        component: "blocks.0.attn".to_owned(),
        hook: "blocks.0.attn.hook_rot_q".to_owned(),
        tensors_not_taken: Vec::new(),
        config: config.as_object().unwrap().clone(),
    });
    let findings = repairs
        .into_iter()
        .filter_map(|repair| match repair.remedy {
            Remedy::Spec { finding, .. } if finding.contains("config.json") => {
                Some(format!("{}: {finding}", repair.fault))
            }
            _ => None,
        });
    findings.collect()
}

#[test]
fn what_the_config_says_of_rotary_positions_and_windows_is_tried_as_it_says_it() {
    let plain = RotarySpec {
        dim: 6,
        pairing: Pairing::Half,
        theta: 1e4,
        scaling: RotaryScaling::None,
    };
    let new = serde_json::json!({
        "max_position_embeddings": 96, "sliding_window": 12,
        "rope_parameters": { "rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4 },
    });
    let old = serde_json::json!({
        "max_position_embeddings": 64, "rope_theta": 5e5, "rope_scaling": {
            "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    });
    let by_layer = serde_json::json!({
        "max_position_embeddings": 64, "rope_parameters": {
            "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 },
        },
    });
    let wrong = serde_json::json!({ "rope_scaling": { "type": "linear" } });
    let told = [new, old, by_layer, wrong].map(|config| of_rotary(&plain, &config).join("\n"));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_number_is_changed_wherever_it_is_the_same() {
    let repairs = repaired(&right(), "blocks.0.ln2");
    let eps = repairs.iter().find_map(|repair| match &repair.remedy {
        Remedy::Number { name, at, .. } if name == "eps" => Some(at.clone()),
        _ => None,
    });
    let at = eps.unwrap();
    assert_eq!(at[0], "/layers/0/mlp/input/norm/eps");
    assert_eq!(at.len(), 2 * right().layers.len());
}

#[test]
fn every_repair_names_a_mistake_and_a_place_to_look_at() {
    for component in [
        "embed",
        "blocks.0.ln1",
        "blocks.0.attn",
        "blocks.0.mlp",
        "unembed",
    ] {
        let repairs = repaired(&right(), component);
        assert!(repairs.len() > 1, "{component}");
        for repair in repairs {
            assert!(
                !repair.fault.is_empty() && !repair.look_at.is_empty(),
                "{repair:?}"
            );
        }
    }
}
