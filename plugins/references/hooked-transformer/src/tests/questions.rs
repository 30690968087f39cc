//! What is refused and in which words, and what floors there are.

use tlbench_sdk::spec::NormKind;
use tlbench_sdk::spec::{Activation, MlpSpec, TensorSource};
use tlbench_sdk::{
    Action, DType, ErrorKind, GradientRequest, Intervention, Objective, Padding, Processing,
    ProcessingStep, Quantity, Stimulus, Target, TraceRequest, TraceSource, hooks,
};

use super::small::{D_MODEL, Small, padded, question, spec, with_heads};

#[test]
fn a_spec_that_asks_for_more_is_refused_by_component() {
    let mut sinking = spec();
    let sinks = TensorSource::new(["sinks"], [3]);
    sinking.layers[0].attn.as_mut().unwrap().body.sinks = Some(sinks);
    let mut gated = spec();
    if let MlpSpec::Dense(dense) = &mut gated.layers[0].mlp.as_mut().unwrap().body {
        dense.activation = Activation::ClampedSwiglu {
            alpha: 1.7,
            limit: 7.0,
        };
    }
    let messages = [sinking, gated].map(|spec| {
        let error = crate::model::refuse_unimplemented(&spec).unwrap_err();
        let error = tlbench_sdk::PluginError::from(error);
        assert_eq!(error.kind, ErrorKind::Unsupported);
        error.to_string()
    });
    insta::assert_snapshot!(messages.join("\n"));
}

fn edited(target: Target, action: Action) -> TraceRequest {
    TraceRequest {
        interventions: vec![Intervention::new(target, action)],
        ..padded(Padding::Left, vec![Quantity::Logits])
    }
}

#[test]
fn a_wrong_question_is_told_what_is_wrong() {
    let model = Small::new();
    let ask = |quantity| padded(Padding::Left, vec![quantity]);
    let differentiated = |quantity| TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Loss,
        }),
        ..ask(quantity)
    };
    let mut in_pieces = edited(
        Target::Hook("hook_embed".into()),
        Action::Perturb {
            seed: 1,
            relative: 0.1,
        },
    );
    in_pieces.chunks = vec![2, 4];
    let mut short = ask(Quantity::Logits);
    short.chunks = vec![2, 3];
    let mut strange = ask(Quantity::Logits);
    strange.inputs.remove("position_ids");
    let wrong_row = {
        let mut request = edited(Target::Hook("hook_embed".into()), Action::Zero);
        request.interventions[0].rows = Some(vec![2]);
        request
    };
    let unknown_operand = Action::Add {
        operand: "x".into(),
    };
    let questions = [
        ask(Quantity::hook("blocks.7.hook_z")),
        ask(Quantity::HookGradient("hook_embed".into())),
        differentiated(Quantity::ParameterGradient("wet".into())),
        ask(Quantity::Weight("blocks.0.attn.W_X".into())),
        ask(Quantity::Generated),
        edited(Target::Hook("hook_embed".into()), unknown_operand),
        edited(Target::Weight("wet".into()), Action::Zero),
        wrong_row,
        in_pieces,
        short,
        strange,
    ];
    let messages = questions.map(|question| {
        let error = model.source.trace(&question).unwrap_err();
        format!("{}: {error}", error.kind)
    });
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_step_that_would_change_the_function_is_refused_with_the_reason() {
    let mut uncentred = spec();
    uncentred.final_norm.as_mut().unwrap().kind = NormKind::RmsNorm;
    let model = Small::of(uncentred);
    let processing: Processing = [ProcessingStep::CenterWritingWeights].into_iter().collect();
    let request = padded(Padding::Left, vec![Quantity::Logits]).processed(processing);
    let error = model.source.trace(&request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn everything_but_tokens_has_a_floor_of_at_least_one_rounding() {
    let model = Small::new();
    let names = hooks(&spec())
        .into_iter()
        .map(|hook| Quantity::Hook(hook.name));
    let request = padded(Padding::Left, names.chain([Quantity::Logits]).collect());
    let trace = model.ask(&request);
    let derived = [Quantity::LogProbs, Quantity::LossPerToken, Quantity::Loss];
    for quantity in request.capture.iter().chain(&derived) {
        let floor = trace.floor(quantity).unwrap();
        assert!(floor.cumulative > 0.0, "{quantity}");
        let is_local = matches!(
            quantity,
            Quantity::Hook(_) | Quantity::Logits | Quantity::LogProbs
        );
        assert_eq!(floor.local.is_some(), is_local, "{quantity}");
    }
    let logits = trace.value(&Quantity::Logits).unwrap();
    assert_eq!(logits.dtype(), DType::F64);
    let rows: Vec<f64> = logits.to_f64_vec();
    let rms = (rms_of(&rows[..6 * 23]).powi(2) * 6.0 + rms_of(&rows[9 * 23..]).powi(2) * 3.0) / 9.0;
    let once = DType::F32.roundoff() * rms.sqrt();
    let floor = trace.floor(&Quantity::Logits).unwrap().cumulative;
    assert!(floor >= once && floor < 100.0 * once, "{floor:e} {once:e}");
}

#[test]
fn a_short_input_has_at_least_the_relative_floor_of_the_longest() {
    let longest = Stimulus::from_rows("longest", &[(0..9).collect()], Padding::Right, 0).unwrap();
    let longest = longest.showing([Quantity::Logits]);
    let model = Small::announced(spec(), std::slice::from_ref(&longest));
    let short = question(&[vec![3]], Padding::Right, vec![Quantity::Logits]);
    let relative = |request: &TraceRequest| {
        let trace = model.ask(request);
        let rms = rms_of(&trace.value(&Quantity::Logits).unwrap().to_f64_vec());
        trace.floor(&Quantity::Logits).unwrap().cumulative / rms
    };
    let long = longest.request;
    assert!(relative(&short) >= relative(&long) * (1.0 - 1e-12));
}

#[test]
fn what_attention_writes_has_the_floor_of_one_sum_over_all_heads() {
    let (heads, d_head) = (64, 4);
    let model = Small::of(with_heads(heads, d_head));
    let [z, each, written] = ["attn.hook_z", "attn.hook_result", "hook_attn_out"]
        .map(|hook| Quantity::hook(format!("blocks.0.{hook}")));
    let w_o = Quantity::Weight("blocks.0.attn.W_O".into());
    let floor_beside = |others: &[&Quantity]| {
        let others = others.iter().copied().cloned();
        let capture = others.chain([written.clone()]).collect();
        let trace = model.ask(&question(&[(0..9).collect()], Padding::Right, capture));
        (trace.floor(&written).unwrap(), trace)
    };
    let (floor, trace) = floor_beside(&[&z, &w_o]);
    let rounded = |quantity, shape| {
        let values = trace.value(quantity).unwrap().to_f64_vec();
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap()
    };
    let (z, w_o) = (
        rounded(&z, (9, heads * d_head)),
        rounded(&w_o, (heads * d_head, D_MODEL)),
    );
    let exact = |tensor: &candle_core::Tensor| tensor.to_dtype(candle_core::DType::F64).unwrap();
    let error =
        (exact(&z.matmul(&w_o).unwrap()) - exact(&z).matmul(&exact(&w_o)).unwrap()).unwrap();
    let error = rms_of(&error.flatten_all().unwrap().to_vec1().unwrap());
    assert!(floor.local.unwrap() > 0.9 * error, "{floor:?} {error:e}");
    // It does not depend on what else is shown.
    assert_eq!(floor_beside(&[&each]).0.cumulative, floor.cumulative);
}

#[test]
fn what_is_wrong_with_the_longest_input_costs_no_other_its_answer() {
    let wrong = Stimulus::from_rows("wrong", &[vec![999; 9]], Padding::Right, 0).unwrap();
    let wrong = wrong.showing([Quantity::Logits]);
    let model = Small::announced(spec(), std::slice::from_ref(&wrong));
    let trace = model.ask(&question(
        &[vec![3]],
        Padding::Right,
        vec![Quantity::Logits],
    ));
    assert!(trace.floor(&Quantity::Logits).is_some());
    let error = model.source.trace(&wrong.request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input_ids: expected values from 0 to 22, found 999"
    );
}

#[test]
fn hooks_behind_a_gate_change_no_local_floor() {
    let model = Small::new();
    let all = hooks(&spec());
    let shown = |with_gated: bool| {
        let hooks = all.iter().filter(|hook| with_gated || hook.gate.is_none());
        let capture = hooks.map(|hook| Quantity::hook(&hook.name)).collect();
        model.ask(&padded(Padding::Left, capture)).floors
    };
    let (without, with) = (shown(false), shown(true));
    assert!(with.len() > without.len());
    for (quantity, floor) in without {
        assert_eq!(with[&quantity].local, floor.local, "{quantity}");
    }
}

fn rms_of(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}
