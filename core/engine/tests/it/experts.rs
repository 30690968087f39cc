//! Mixtures of experts against HuggingFace's own modules.
//!
//! Weights and input are `sin(seed + 1.7 i)`. The numbers are those of the modules in f64, with every cast to f32 turned
//! into one to f64 (transformers 5, `_experts_implementation = "eager"`).

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, Branch, BranchInput, Cut, DenseMlp, LayerSpec, MlpSpec, MoeSpec, ProjectionSpec,
    Renormalise, ResidualSource, RouterScore, ScoreOrder, TensorSource, Wiring,
};
use tlbench_sdk::{
    Action, DType, GradientRequest, Intervention, ModelSpec, Objective, Padding, Quantity, Target,
    Tensor, TraceRequest,
};

use crate::features::spec_with;
use crate::model::{Small, ask, hook, largest_difference, spec};

const D_MODEL: usize = 4;
const D_MLP: usize = 3;
const N_EXPERTS: usize = 4;

fn wave(seed: f64, shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let values = (0..count).map(|index: usize| (seed + 1.7 * index as f64).sin());
    Tensor::from_vec(values.collect(), shape).unwrap()
}

/// A linear map whose weight is the wave of `seed`, which is its name.
fn linear(seed: usize, outputs: usize, inputs: usize) -> ProjectionSpec {
    ProjectionSpec {
        weight: TensorSource::new([seed.to_string()], [outputs, inputs]),
        bias: None,
        tap: None,
    }
}

fn network(seeds: [usize; 3], activation: Activation) -> DenseMlp {
    let [gate, input, output] = seeds;
    DenseMlp {
        d_mlp: D_MLP,
        input: linear(input, D_MLP, D_MODEL),
        gate: Some(linear(gate, D_MLP, D_MODEL)),
        output: linear(output, D_MODEL, D_MLP),
        activation,
        module: None,
        post_tap: None,
        config_keys: Vec::new(),
    }
}

fn moe(activation: Activation) -> MoeSpec {
    MoeSpec {
        router: linear(1, N_EXPERTS, D_MODEL),
        choice_bias: None,
        score: RouterScore::Softmax,
        order: ScoreOrder::BeforeTopK,
        top_k: 2,
        renormalise: Renormalise::Yes,
        routed_scale: 1.0,
        experts: (0..N_EXPERTS)
            .map(|expert| network([10 + expert, 20 + expert, 30 + expert], activation))
            .collect(),
        shared: None,
        module: None,
        config_keys: Vec::new(),
    }
}

/// A model of these experts and nothing else.
fn model(moe: MoeSpec) -> Small {
    let table = TensorSource::new(["5"], [23, D_MODEL]);
    let mut spec = ModelSpec {
        d_model: D_MODEL,
        final_norm: None,
        layers: vec![LayerSpec {
            wiring: Wiring::Sequential,
            attn: None,
            mlp: Some(Branch {
                input: BranchInput::Stream,
                body: MlpSpec::Moe(moe),
                output_norm: None,
                output_scale: 1.0,
                residual: ResidualSource::Stream,
                sum_norm: None,
            }),
            module: None,
            taps: BTreeMap::new(),
        }],
        ..spec()
    };
    spec.embedding.tokens = table.clone();
    spec.embedding.positions = None;
    spec.unembed.projection.weight = table;
    spec.check().unwrap();
    let weights: BTreeMap<String, Tensor> = spec
        .sources()
        .into_iter()
        .map(|(_, source)| {
            let name = source.names[0].clone();
            let weight = wave(name.parse().unwrap(), &source.shape);
            (name, weight)
        })
        .collect();
    Small::with(spec, weights)
}

/// A request with the input that HF's modules were given.
fn request(hooks: &[&str]) -> TraceRequest {
    let mut request = ask(&[vec![1, 2, 3]], Padding::Right, hooks);
    let input = wave(0.5, &[1, 3, D_MODEL]).to_f64_vec();
    let input = input.iter().map(|value| 2.0 * value).collect();
    let input = Tensor::from_vec(input, &[1, 3, D_MODEL]).unwrap();
    replace(&mut request, "blocks.0.hook_resid_pre", input);
    request
}

fn replace(request: &mut TraceRequest, name: &str, value: Tensor) {
    request.operands.insert(name.into(), value);
    let operand = name.into();
    let edit = Intervention::new(Target::Hook(name.into()), Action::Replace { operand });
    request.interventions.push(edit);
}

fn output(moe: MoeSpec) -> Vec<f64> {
    let name = "blocks.0.hook_mlp_out";
    let trace = model(moe)
        .bridge(DType::F64)
        .run(&request(&[name]))
        .unwrap();
    hook(&trace, name).to_f64_vec()
}

#[test]
fn the_output_is_that_of_mixtral() {
    let expected = [
        0.0429245039354253,
        -0.825277814423926,
        -0.666797794749543,
        0.321208363813073,
        0.15447165559029,
        0.36496975413033,
        0.121429232059098,
        -0.273174660064193,
        1.52100053803726,
        -0.402097874580903,
        -1.82496863200482,
        -0.977497173513455,
    ];
    assert!(largest_difference(&output(moe(Activation::Silu)), &expected) < 1e-13);
}

#[test]
fn without_renormalisation_it_is_that_of_olmoe() {
    let expected = [
        0.0410446942197037,
        -0.789136097886971,
        -0.637596456165,
        0.307141559360885,
        0.132989309715865,
        0.314213474850674,
        0.104542090192254,
        -0.235184308311943,
        1.10840410251707,
        -0.29302220653649,
        -1.32991584689995,
        -0.712334973082443,
    ];
    let olmoe = MoeSpec {
        renormalise: Renormalise::No,
        ..moe(Activation::Silu)
    };
    assert!(largest_difference(&output(olmoe), &expected) < 1e-13);
}

#[test]
fn with_the_softmax_after_the_choice_and_clamped_gates_it_is_that_of_gpt_oss() {
    let expected = [
        -0.0485337545184524,
        -0.0290654714135469,
        0.0265615519668899,
        0.0491448223243442,
        -0.00460711517680019,
        0.0199020579765026,
        0.0196521850754028,
        -0.00504588086814553,
        0.0883899465403526,
        0.0478535096586982,
        -0.0522148234169754,
        -0.0873255918413086,
    ];
    let mut gpt_oss = MoeSpec {
        order: ScoreOrder::AfterTopK,
        renormalise: Renormalise::No,
        ..moe(Activation::ClampedSwiglu {
            alpha: 1.702,
            limit: 1.5,
        })
    };
    gpt_oss.router.bias = Some(TensorSource::new(["2"], [N_EXPERTS]));
    assert!(largest_difference(&output(gpt_oss), &expected) < 1e-13);
}

#[test]
fn with_a_sigmoid_a_bias_of_the_choice_a_factor_and_a_shared_expert_it_is_that_of_deepseek_v3() {
    let expected = [
        -3.26544923757512,
        -2.67863314133544,
        1.24052182093883,
        3.61641241666474,
        2.11072827157809,
        -9.42336987661876,
        -9.23437642100575,
        2.44259236667128,
        19.0784289554265,
        0.406468689573436,
        -18.7711567198895,
        -14.5966275797643,
    ];
    let deepseek = MoeSpec {
        score: RouterScore::Sigmoid,
        choice_bias: Some(TensorSource::new(["3"], [N_EXPERTS])),
        routed_scale: 2.5,
        shared: Some(Box::new(network([40, 41, 42], Activation::Silu))),
        ..moe(Activation::Silu)
    };
    assert!(largest_difference(&output(deepseek), &expected) < 1e-12);
}

const INDICES: &str = "blocks.0.mlp.hook_expert_indices";
const WEIGHTS: &str = "blocks.0.mlp.hook_expert_weights";

/// The experts of each token.
fn choice(small: &Small) -> Vec<f64> {
    let trace = small.bridge(DType::F64).run(&request(&[INDICES])).unwrap();
    hook(&trace, INDICES).to_f64_vec()
}

#[test]
fn experts_are_shown_where_they_serve_and_0_elsewhere() {
    let small = model(moe(Activation::Silu));
    let chosen = choice(&small);
    for expert in 0..N_EXPERTS {
        for stage in ["gate", "pre", "post"] {
            let name = format!("blocks.0.mlp.experts.{expert}.hook_{stage}");
            let trace = small.bridge(DType::F64).run(&request(&[&name])).unwrap();
            let value = hook(&trace, &name).to_f64_vec();
            for (token, row) in value.chunks(D_MLP).enumerate() {
                let serves = chosen[token * 2..][..2].contains(&(expert as f64));
                assert_eq!(
                    row.iter().any(|value| *value != 0.0),
                    serves,
                    "{name}, {token}"
                );
            }
        }
    }
}

#[test]
fn looking_at_an_expert_changes_no_bit() {
    let small = Small::of(spec_with("experts chosen by softmax"));
    let out = "blocks.1.hook_mlp_out";
    let points = tlbench_sdk::hooks(&small.spec);
    let experts = points.iter().filter(|point| point.name.contains(".mlp."));
    let watched: Vec<&str> = experts.map(|point| point.name.as_str()).collect();
    for dtype in [DType::F32, DType::BF16] {
        let bridge = small.bridge(dtype);
        let output = |others: &[&str]| {
            let names = [&[out], others].concat();
            let request = ask(&[vec![3, 1, 4, 22, 5]], Padding::Right, &names);
            hook(&bridge.run(&request).unwrap(), out)
        };
        assert_eq!(output(&[]), output(&watched));
    }
}

#[test]
fn an_edit_of_the_choice_sends_a_token_to_another_expert_with_the_weight_of_the_first() {
    let small = model(moe(Activation::Silu));
    let bridge = small.bridge(DType::F64);
    let out = "blocks.0.hook_mlp_out";
    let mut edited = request(&[out, WEIGHTS]);
    // Both places of the last token are the first expert's.
    replace(
        &mut edited,
        INDICES,
        Tensor::from_vec(vec![0.0, 1.0, 2.0, 3.0, 0.0, 0.0], &[1, 3, 2]).unwrap(),
    );
    let trace = bridge.run(&edited).unwrap();
    let mut scores = hook(&trace, WEIGHTS).to_f64_vec()[..N_EXPERTS].to_vec();
    scores.sort_by(|a, b| b.total_cmp(a));
    let weights: Vec<f64> = scores[..2]
        .iter()
        .map(|score| score / (scores[0] + scores[1]))
        .collect();
    let alone = |expert: usize| {
        let mut only = request(&[out]);
        let indices = vec![expert as f64; 6];
        replace(
            &mut only,
            INDICES,
            Tensor::from_vec(indices, &[1, 3, 2]).unwrap(),
        );
        hook(&bridge.run(&only).unwrap(), out).to_f64_vec()
    };
    let (found, [first, second]) = (hook(&trace, out).to_f64_vec(), [alone(0), alone(1)]);
    let expected: Vec<f64> = (0..D_MODEL)
        .map(|i| weights[0] * first[i] + weights[1] * second[i])
        .collect();
    assert!(largest_difference(&found[..D_MODEL], &expected) < 1e-14);
    assert!(largest_difference(&found[2 * D_MODEL..], &first[2 * D_MODEL..]) < 1e-14);
}

#[test]
fn a_choice_that_names_no_expert_and_the_gradient_of_a_choice_are_refused() {
    let bridge = model(moe(Activation::Silu)).bridge(DType::F64);
    let halved = Action::Scale { factor: 0.5 };
    let mut edited = request(&[]);
    edited
        .interventions
        .push(Intervention::new(Target::Hook(INDICES.into()), halved));
    let mut differentiated = request(&[]);
    let objective = Objective::Loss;
    differentiated.gradients = Some(GradientRequest { objective });
    differentiated.capture = vec![Quantity::HookGradient(INDICES.into())];
    let errors =
        [edited, differentiated].map(|request| bridge.run(&request).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn an_expert_that_nobody_chose_has_a_gradient_of_0_as_has_the_bias_of_the_choice() {
    let mut idle = moe(Activation::Silu);
    // Towards the first two experts, whatever the token.
    idle.choice_bias = Some(TensorSource::new(["7"], [N_EXPERTS]).cut(Cut::Add {
        values: vec![50.0, 50.0, 0.0, 0.0],
    }));
    let small = model(idle);
    assert!(choice(&small).iter().all(|expert| *expert < 2.0));
    let mut request = request(&["blocks.0.mlp.experts.3.hook_post"]);
    let objective = Objective::Projection { seed: 3 };
    request.gradients = Some(GradientRequest { objective });
    let expert =
        |expert: usize| Quantity::HookGradient(format!("blocks.0.mlp.experts.{expert}.hook_post"));
    let parameter = |name: &str| Quantity::ParameterGradient(name.into());
    // The gates of two experts, and the bias.
    let asked = [
        expert(3),
        parameter("13"),
        parameter("7"),
        expert(0),
        parameter("10"),
    ];
    request.capture.extend(asked.iter().cloned());
    let trace = small.bridge(DType::F64).run(&request).unwrap();
    let is_zero = |quantity: &Quantity| {
        let values = trace.value(quantity).unwrap().to_f64_vec();
        values.iter().all(|value| *value == 0.0)
    };
    assert_eq!(
        asked.each_ref().map(is_zero),
        [true, true, true, false, false]
    );
    assert!(is_zero(&Quantity::hook("blocks.0.mlp.experts.3.hook_post")));
}
