//! Feed-forward bodies.

use tlbench_sdk::spec::{
    Activation, DenseMlp, MlpSpec, MoeSpec, ProjectionSpec, Renormalise, RouterScore, ScoreOrder,
};
use tlbench_sdk::{ModelSpec, Symptom};

use super::places::mlps_by_name;
use super::tensors::bias_beside;
use super::variant::{Parts, Variant, Variants, keys};
use crate::parts::networks_of;

/// Every feed-forward body.
pub(super) struct Mlps;

const ACTIVATIONS: [(Activation, &str); 6] = [
    (Activation::GeluTanh, "gelu_tanh"),
    (Activation::Gelu, "gelu"),
    (Activation::Silu, "silu"),
    (Activation::QuickGelu, "quick_gelu"),
    (Activation::Relu, "relu"),
    (Activation::ReluSquared, "relu_squared"),
];

impl Parts<MlpSpec> for Mlps {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut MlpSpec)> {
        mlps_by_name(spec)
    }

    fn variants(&self, symptom: &Symptom, _: &str, mlp: &MlpSpec) -> Vec<Variant<MlpSpec>> {
        let mut variants = Variants::of(mlp);
        activations(&mut variants);
        let finding = "gate and up projection are in each other's place";
        variants.push("gate-up-swapped", finding, |mlp| {
            for network in networks_of(mlp) {
                if let Some(gate) = &mut network.gate {
                    std::mem::swap(gate, &mut network.input);
                }
            }
        });
        biases(&mut variants, symptom);
        if let MlpSpec::Moe(found) = mlp {
            routers(&mut variants, found);
        }
        variants.done()
    }

    fn look_at(&self, mlp: &MlpSpec) -> String {
        match mlp {
            MlpSpec::Dense(dense) => keys(&dense.config_keys),
            MlpSpec::Moe(moe) => keys(&moe.config_keys),
        }
    }
}

fn name(activation: Activation) -> String {
    let known = ACTIVATIONS.iter().find(|(known, _)| *known == activation);
    known.map_or_else(|| format!("{activation:?}"), |(_, name)| (*name).to_owned())
}

fn activations(variants: &mut Variants<'_, MlpSpec>) {
    let mut copy = variants.part().clone();
    let found = networks_of(&mut copy).first().map(|first| first.activation);
    let Some(found) = found else { return };
    for (activation, fits) in ACTIVATIONS {
        let is_gelu = |one| matches!(one, Activation::Gelu | Activation::GeluTanh);
        let fault = match (found, activation) {
            (found, fits) if is_gelu(found) && is_gelu(fits) => "gelu-kind",
            (Activation::QuickGelu, _) => "gelu-quick",
            (Activation::Silu, _) => "silu-for-gelu",
            (Activation::Relu, _) => "relu-for-all",
            _ => "gelu-for-silu",
        };
        let finding = format!("the activation is {} where {fits} fits", name(found));
        variants.push(fault, finding, |mlp| {
            for network in networks_of(mlp) {
                network.activation = activation;
            }
        });
    }
}

type Projection = fn(&mut DenseMlp) -> Option<&mut ProjectionSpec>;

const PROJECTIONS: [(&str, &str, Projection); 3] = [
    ("mlp-input-bias-dropped", "input", |mlp| {
        Some(&mut mlp.input)
    }),
    ("mlp-gate-bias-dropped", "gate", |mlp| mlp.gate.as_mut()),
    ("mlp-output-bias-dropped", "output", |mlp| {
        Some(&mut mlp.output)
    }),
];

fn biases(variants: &mut Variants<'_, MlpSpec>, symptom: &Symptom) {
    for (fault, name, projection) in PROJECTIONS {
        let finding = format!("the bias of the {name} is left out where it fits");
        variants.push(fault, finding, |mlp| {
            for projection in networks_of(mlp).into_iter().filter_map(projection) {
                if projection.bias.is_none() {
                    projection.bias = bias_beside(symptom, projection);
                }
            }
        });
        let finding = format!("there is a bias of the {name} where none fits");
        variants.push(fault, finding, |mlp| {
            for projection in networks_of(mlp).into_iter().filter_map(projection) {
                projection.bias = None;
            }
        });
    }
}

fn routers(variants: &mut Variants<'_, MlpSpec>, found: &MoeSpec) {
    let mut push = |fault, finding: String, edit: &dyn Fn(&mut MoeSpec)| {
        variants.push(fault, finding, |mlp| {
            if let MlpSpec::Moe(moe) = mlp {
                edit(moe);
            }
        });
    };
    let (renormalise, finding) = match found.renormalise {
        Renormalise::Yes => (
            Renormalise::No,
            "weights of chosen experts are divided by their sum where they fit as they are",
        ),
        Renormalise::No => (
            Renormalise::Yes,
            "weights of chosen experts are left as they are where dividing by their sum fits",
        ),
    };
    push("router-normalisation", finding.to_owned(), &|moe| {
        moe.renormalise = renormalise;
    });
    let (order, finding) = match found.order {
        ScoreOrder::AfterTopK => (
            ScoreOrder::BeforeTopK,
            "the router scores experts after the choice where before fits",
        ),
        ScoreOrder::BeforeTopK => (
            ScoreOrder::AfterTopK,
            "the router scores experts before the choice where after fits",
        ),
    };
    push("router-order", finding.to_owned(), &|moe| moe.order = order);
    let (score, finding) = match found.score {
        RouterScore::Sigmoid => (
            RouterScore::Softmax,
            "the router scores by a sigmoid where a softmax fits",
        ),
        RouterScore::Softmax => (
            RouterScore::Sigmoid,
            "the router scores by a softmax where a sigmoid fits",
        ),
    };
    push("router-sigmoid", finding.to_owned(), &|moe| {
        moe.score = score
    });
    for top_k in 1..=found.experts.len() {
        let fault = if found.top_k < top_k {
            "experts-one-less"
        } else {
            "experts-one-more"
        };
        let finding = format!("{} experts serve a token where {top_k} fit", found.top_k);
        push(fault, finding, &|moe| moe.top_k = top_k);
    }
    for (by, finding) in [
        (1, "expert i stands where expert i - 1 fits"),
        (
            found.experts.len().saturating_sub(1),
            "expert i stands where expert i + 1 fits",
        ),
    ] {
        push("experts-rotated", finding.to_owned(), &|moe| {
            moe.experts.rotate_right(by);
        });
    }
    push(
        "shared-expert-dropped",
        "an expert serves every token where none fits".to_owned(),
        &|moe| moe.shared = None,
    );
}
