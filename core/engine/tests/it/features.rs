//! What families do differently, each as a change of the small model.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, Branch, BranchInput, DenseMlp, EmbeddingScale, LayerSpec, MlpSpec, MoeSpec,
    NormKind, NormSpec, Renormalise, ResidualSource, RouterScore, ScoreOrder, TensorSource, Wiring,
};

use crate::model::{D_MODEL, linear, norm};

/// Its name, and the change.
pub(crate) type Feature = (&'static str, fn(&mut ModelSpec));

pub(crate) const FEATURES: [Feature; 16] = [
    ("side by side", |spec| {
        each_layer(spec, |_, layer| layer.wiring = Wiring::Parallel);
    }),
    ("side by side behind one norm", |spec| {
        each_layer(spec, |_, layer| {
            layer.wiring = Wiring::Parallel;
            layer.mlp.as_mut().unwrap().input = BranchInput::SharedNorm;
        });
    }),
    ("one after the other behind one norm", |spec| {
        each_layer(spec, |_, layer| {
            layer.mlp.as_mut().unwrap().input = BranchInput::SharedNorm;
        });
    }),
    ("norms on both sides", |spec| {
        each_layer(spec, |name, layer| {
            let output = |part: &str| NormSpec {
                gain_offset: 1.0,
                ..rms(&format!("{name}.{part}"))
            };
            layer.attn.as_mut().unwrap().output_norm = Some(output("attn_out"));
            layer.mlp.as_mut().unwrap().output_norm = Some(output("mlp_out"));
        });
    }),
    ("scaled branches", |spec| {
        each_layer(spec, |_, layer| {
            layer.attn.as_mut().unwrap().output_scale = 0.3;
            layer.mlp.as_mut().unwrap().output_scale = 1.7;
        });
    }),
    ("added to what the norm gives", |spec| {
        each_layer(spec, |_, layer| {
            layer.attn.as_mut().unwrap().residual = ResidualSource::Input;
            layer.mlp.as_mut().unwrap().residual = ResidualSource::Input;
        });
    }),
    ("norms of the sums", |spec| {
        each_layer(spec, |_, layer| {
            normed_sum(&mut layer.attn);
            normed_sum(&mut layer.mlp);
        });
    }),
    ("gated", |spec| {
        each_mlp(spec, |name, dense| gate(name, dense, Activation::Silu));
    }),
    ("gated by ReLU^2 without biases", |spec| {
        each_mlp(spec, |name, dense| {
            gate(name, dense, Activation::ReluSquared);
            dense.input.bias = None;
            dense.output.bias = None;
        });
    }),
    ("gated and clamped", |spec| {
        each_mlp(spec, |name, dense| gate(name, dense, CLAMPED));
    }),
    ("experts chosen by softmax", |spec| {
        each_moe(spec, Activation::Silu, |_, _| ());
    }),
    ("softmax of the chosen experts", |spec| {
        each_moe(spec, CLAMPED, |_, moe| moe.order = ScoreOrder::AfterTopK);
    }),
    (
        "experts chosen by sigmoid and bias, and a shared one",
        |spec| {
            each_moe(spec, Activation::Silu, |name, moe| {
                moe.score = RouterScore::Sigmoid;
                moe.choice_bias = Some(TensorSource::new([format!("{name}.choice")], [4]));
                moe.renormalise = Renormalise::No;
                moe.routed_scale = 2.5;
                let shared = expert(&format!("{name}.shared"), Activation::Silu);
                moe.shared = Some(Box::new(shared));
            });
        },
    ),
    ("a scaled embedding", |spec| {
        spec.embedding.scale = Some(EmbeddingScale {
            value: (D_MODEL as f64).sqrt(),
            rounded_to_weights: true,
        });
    }),
    ("a normed embedding", |spec| {
        spec.embedding.norm = Some(norm("embed_norm"));
    }),
    ("scaled and capped logits", |spec| {
        spec.unembed.logit_scale = 0.4;
        spec.unembed.softcap = Some(3.0);
    }),
];

/// Some values are beyond the limit, and none so near that a difference would see the kink.
const CLAMPED: Activation = Activation::ClampedSwiglu {
    alpha: 1.702,
    limit: LIMIT,
};

pub(crate) const LIMIT: f64 = 0.9;

/// The small model with the feature of that name.
pub(crate) fn spec_with(name: &str) -> ModelSpec {
    let feature = FEATURES.iter().find(|(known, _)| *known == name);
    let mut spec = crate::model::spec();
    (feature.unwrap().1)(&mut spec);
    spec.check().unwrap();
    spec
}

fn each_layer(spec: &mut ModelSpec, change: impl Fn(&str, &mut LayerSpec)) {
    let layers = spec.layers.iter_mut().enumerate();
    layers.for_each(|(index, layer)| change(&format!("h.{index}"), layer));
}

fn each_mlp(spec: &mut ModelSpec, change: impl Fn(&str, &mut DenseMlp)) {
    each_layer(spec, |name, layer| {
        match &mut layer.mlp.as_mut().unwrap().body {
            MlpSpec::Dense(dense) => change(name, dense),
            MlpSpec::Moe(_) => panic!("a dense MLP"),
        }
    });
}

/// In the second block; the first one stays dense.
fn each_moe(spec: &mut ModelSpec, activation: Activation, change: impl Fn(&str, &mut MoeSpec)) {
    let name = "h.1.moe";
    let mut moe = MoeSpec {
        router: linear(&format!("{name}.router"), D_MODEL, 4),
        choice_bias: None,
        score: RouterScore::Softmax,
        order: ScoreOrder::BeforeTopK,
        top_k: 2,
        renormalise: Renormalise::Yes,
        routed_scale: 1.0,
        experts: (0..4)
            .map(|index| expert(&format!("{name}.{index}"), activation))
            .collect(),
        shared: None,
        module: None,
        config_keys: Vec::new(),
    };
    change(name, &mut moe);
    spec.layers[1].mlp.as_mut().unwrap().body = MlpSpec::Moe(moe);
}

fn expert(name: &str, activation: Activation) -> DenseMlp {
    const WIDTH: usize = 7;
    DenseMlp {
        d_mlp: WIDTH,
        input: linear(&format!("{name}.in"), D_MODEL, WIDTH),
        gate: Some(linear(&format!("{name}.gate"), D_MODEL, WIDTH)),
        output: linear(&format!("{name}.out"), WIDTH, D_MODEL),
        activation,
        module: None,
        post_tap: None,
        config_keys: Vec::new(),
    }
}

fn gate(name: &str, dense: &mut DenseMlp, activation: Activation) {
    dense.gate = Some(linear(&format!("{name}.gate"), D_MODEL, dense.d_mlp));
    dense.activation = activation;
}

/// As BERT has it.
fn normed_sum<T>(branch: &mut Option<Branch<T>>) {
    let branch = branch.as_mut().unwrap();
    match std::mem::replace(&mut branch.input, BranchInput::Stream) {
        BranchInput::Norm(norm) => branch.sum_norm = Some(norm),
        BranchInput::Stream | BranchInput::SharedNorm => panic!("a norm"),
    }
}

fn rms(name: &str) -> NormSpec {
    NormSpec {
        kind: NormKind::RmsNorm,
        bias: None,
        ..norm(name)
    }
}
