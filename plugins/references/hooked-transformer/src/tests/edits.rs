//! Edits at hooks and of weights.

use tlbench_sdk::{
    Action, Intervention, Padding, Quantity, Target, Tensor, TensorMap, TraceRequest, hooks, noise,
};

use super::small::{HEADS, Small, distance, padded, spec};

/// The logits, with `edits` made.
fn logits(model: &Small, edits: Vec<Intervention>, operands: TensorMap) -> Tensor {
    let request = TraceRequest {
        interventions: edits,
        operands,
        ..padded(Padding::Left, Vec::new())
    };
    model.value(&request, &Quantity::Logits)
}

fn hook(name: &str, action: Action) -> Intervention {
    Intervention::new(Target::Hook(name.into()), action)
}

#[test]
fn every_hook_matters_and_its_own_value_in_its_place_changes_nothing() {
    let model = Small::new();
    let plain = logits(&model, Vec::new(), TensorMap::new());
    let request = padded(Padding::Left, Vec::new());
    for point in hooks(&spec()) {
        let own = model.value(&request, &Quantity::hook(&point.name));
        let operands: TensorMap = [("own".to_owned(), own)].into();
        let same = hook(
            &point.name,
            Action::Replace {
                operand: "own".into(),
            },
        );
        let error = distance(&logits(&model, vec![same], operands), &plain);
        assert!(error < 1e-12, "{}: {error:e}", point.name);
        let action = Action::Perturb {
            seed: 3,
            relative: 0.1,
        };
        let moved = distance(
            &logits(&model, vec![hook(&point.name, action)], TensorMap::new()),
            &plain,
        );
        assert!(moved > 1e-3, "{}: {moved:e}", point.name);
    }
}

#[test]
fn a_perturbation_is_noise_of_the_whole_value_times_the_rms_of_what_is_edited() {
    let model = Small::new();
    let name = "blocks.1.hook_resid_pre";
    let value = model.value(&padded(Padding::Left, Vec::new()), &Quantity::hook(name));
    let edit = hook(
        name,
        Action::Perturb {
            seed: 5,
            relative: 0.1,
        },
    )
    .at_rows([0])
    .at_positions([2, 4]);
    let perturbed = logits(&model, vec![edit], TensorMap::new());

    let mut values = value.to_f64_vec();
    let width = value.shape()[2];
    let chosen: Vec<usize> = [2, 4]
        .iter()
        .flat_map(|pos| pos * width..(pos + 1) * width)
        .collect();
    let square: f64 = chosen.iter().map(|&i| values[i] * values[i]).sum();
    let rms = (square / chosen.len() as f64).sqrt();
    let noise = noise(5, values.len());
    for i in chosen {
        values[i] += 0.1 * rms * noise[i];
    }
    let operands = [(
        "by hand".to_owned(),
        Tensor::from_vec(values, value.shape()).unwrap(),
    )];
    let by_hand = hook(
        name,
        Action::Replace {
            operand: "by hand".into(),
        },
    );
    assert!(distance(&perturbed, &logits(&model, vec![by_hand], operands.into())) < 1e-13);
}

#[test]
fn edits_are_made_in_order_and_where_they_are_wanted() {
    let model = Small::new();
    let name = "blocks.0.hook_mlp_out";
    let once = hook(name, Action::Scale { factor: 6.0 }).at_positions([5]);
    let twice = [2.0, 3.0].map(|factor| hook(name, Action::Scale { factor }).at_positions([5]));
    let (once, twice) = (
        logits(&model, vec![once], TensorMap::new()),
        logits(&model, twice.into(), TensorMap::new()),
    );
    assert!(distance(&once, &twice) < 1e-12);
    let plain = logits(&model, Vec::new(), TensorMap::new()).to_f64_vec();
    let width = once.shape()[2];
    // What comes before it is not touched.
    assert_eq!(once.to_f64_vec()[..5 * width], plain[..5 * width]);
    assert_ne!(
        once.to_f64_vec()[5 * width..6 * width],
        plain[5 * width..6 * width]
    );
}

#[test]
fn a_weight_is_edited_by_either_name() {
    let model = Small::new();
    let weight = |name: &str, action| Intervention::new(Target::Weight(name.into()), action);
    let stored = logits(
        &model,
        vec![weight("h.1.o.w", Action::Zero)],
        TensorMap::new(),
    );
    let canonical = logits(
        &model,
        vec![weight("blocks.1.attn.W_O", Action::Zero)],
        TensorMap::new(),
    );
    let result = logits(
        &model,
        vec![hook("blocks.1.attn.hook_result", Action::Zero)],
        TensorMap::new(),
    );
    assert!(distance(&stored, &canonical) < 1e-13);
    assert!(distance(&stored, &result) < 1e-13);
    // One head of it, by the first dimension of the canonical weight.
    let head = weight("blocks.1.attn.W_O", Action::Zero).at_rows([HEADS - 1]);
    let of_head = logits(&model, vec![head], TensorMap::new());
    assert!(distance(&of_head, &canonical) > 1e-3);
    // A tied tensor is edited at both ends, and a canonical weight at its own.
    let factor = Action::Scale { factor: 1.5 };
    let tied = logits(
        &model,
        vec![weight("wte", factor.clone())],
        TensorMap::new(),
    );
    let ends = ["embed.W_E", "unembed.W_U"].map(|name| weight(name, factor.clone()));
    assert!(distance(&tied, &logits(&model, ends.into(), TensorMap::new())) < 1e-12);
    let one = logits(&model, vec![weight("embed.W_E", factor)], TensorMap::new());
    assert!(distance(&tied, &one) > 1e-3);
}

#[test]
fn on_the_truth_every_component_shows_the_truth() {
    let model = Small::new();
    let names = hooks(&spec())
        .into_iter()
        .map(|hook| Quantity::Hook(hook.name));
    let request = padded(Padding::Right, names.chain([Quantity::Logits]).collect());
    let truth = model.ask(&request);
    let hooks = truth
        .values
        .iter()
        .filter_map(|(quantity, value)| Some((quantity.as_hook()?.to_owned(), value.clone())));
    let local = model.ask(&request.clone().local(hooks.collect()));
    for quantity in &request.capture {
        let error = distance(
            local.value(quantity).unwrap(),
            truth.value(quantity).unwrap(),
        );
        assert!(error < 1e-13, "{quantity}: {error:e}");
    }
    assert!(local.floors.is_empty());
}

#[test]
fn a_wrong_truth_shows_at_the_next_hook_and_not_at_its_own() {
    let model = Small::new();
    let (here, next) = ("blocks.0.hook_resid_mid", "blocks.0.ln2.hook_scale");
    let capture = [here, next].map(Quantity::hook);
    let request = padded(Padding::Right, capture.to_vec());
    let plain = model.ask(&request);
    let doubled = plain.value(&capture[0]).unwrap();
    let values = doubled
        .to_f64_vec()
        .iter()
        .map(|value| 2.0 * value)
        .collect();
    let doubled = Tensor::from_vec::<f64>(values, doubled.shape()).unwrap();
    let local = model.ask(&request.clone().local([(here.to_owned(), doubled)].into()));
    assert_eq!(local.value(&capture[0]), plain.value(&capture[0]));
    assert!(
        distance(
            local.value(&capture[1]).unwrap(),
            plain.value(&capture[1]).unwrap()
        ) > 0.1
    );
}
