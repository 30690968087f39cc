//! Processed weights: the same function, and hooks that follow from the raw ones.

use tlbench_sdk::{Padding, Processing, ProcessingStep, Quantity, Tensor, hooks};

use super::small::{Small, distance, padded, spec};

#[test]
fn every_combination_of_steps_leaves_the_log_probs_alone() {
    let model = Small::new();
    let request = padded(Padding::Left, Vec::new());
    // What a padded query mixes is nothing, and has no bias of values in it.
    let real = |log_probs: Tensor| {
        let mask = request.inputs["attention_mask"].to_f64_vec();
        let width = log_probs.shape()[2];
        let values = log_probs.to_f64_vec().into_iter().enumerate();
        values
            .filter(|(i, _)| mask[i / width] == 1.0)
            .map(|(_, value)| value)
            .collect()
    };
    let raw = Tensor::vector::<f64>(real(model.value(&request, &Quantity::LogProbs)));
    let all = Processing::compat(&spec());
    assert_eq!(all.combinations().len(), 15);
    for processing in all.combinations() {
        let processed = request.clone().processed(processing.clone());
        let log_probs = real(model.value(&processed, &Quantity::LogProbs));
        let error = distance(&Tensor::vector::<f64>(log_probs), &raw);
        assert!(error < 1e-12, "{processing}: {error:e}");
    }
}

/// Up to the mean over the last dimension.
fn centered(tensor: &Tensor) -> Tensor {
    let width = tensor.shape()[tensor.shape().len() - 1];
    let values = tensor.to_f64_vec();
    let rows = values.chunks(width).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / width as f64;
        row.iter().map(move |value| value - mean)
    });
    Tensor::from_vec::<f64>(rows.collect(), tensor.shape()).unwrap()
}

#[test]
fn hooks_are_the_same_or_the_same_up_to_a_mean() {
    let model = Small::new();
    let shown = hooks(&spec())
        .into_iter()
        .filter(|hook| hook.gate.is_none());
    let request = padded(
        Padding::Right,
        shown.map(|hook| Quantity::Hook(hook.name)).collect(),
    );
    let raw = model.ask(&request);
    let compat = model.ask(&request.clone().processed(Processing::compat(&spec())));
    for quantity in &request.capture {
        let name = quantity.as_hook().unwrap();
        let (raw, compat) = (
            raw.value(quantity).unwrap(),
            compat.value(quantity).unwrap(),
        );
        let of_stream = [
            "hook_embed",
            "hook_pos_embed",
            "_out",
            "resid_pre",
            "resid_mid",
            "resid_post",
        ];
        let error = if name.ends_with("hook_v") || name.ends_with("hook_z") {
            // Less the bias of the values, whatever the position.
            let row = |tensor: &Tensor| tensor.to_f64_vec();
            let moved: Vec<f64> = row(raw)
                .iter()
                .zip(row(compat))
                .map(|(a, b)| a - b)
                .collect();
            let width = raw.shape()[2] * raw.shape()[3];
            let bias = &moved[..width];
            moved[..3 * width]
                .chunks(width)
                .flat_map(|row| row.iter().zip(bias).map(|(a, b)| (a - b).abs()))
                .fold(0.0, f64::max)
        } else if name == "unembed.hook_in" {
            let normalized = Quantity::hook("ln_final.hook_normalized");
            distance(compat, &model.value(&request, &normalized))
        } else if of_stream.iter().any(|part| name.ends_with(part)) {
            distance(&centered(compat), &centered(raw))
        } else {
            distance(compat, raw)
        };
        assert!(error < 1e-12, "{name}: {error:e}");
    }
}

#[test]
fn what_each_step_leaves_behind() {
    let model = Small::new();
    let weight = |name: &str, step: ProcessingStep| {
        let request = padded(Padding::Right, Vec::new()).processed([step].into_iter().collect());
        model.value(&request, &Quantity::Weight(name.into()))
    };
    let folded = weight("blocks.1.ln2.w", ProcessingStep::FoldLn);
    assert!(folded.to_f64_vec().iter().all(|&gain| gain == 1.0));
    let values = weight("blocks.0.attn.b_V", ProcessingStep::FoldValueBiases);
    assert!(values.to_f64_vec().iter().all(|&bias| bias == 0.0));
    for (name, step) in [
        ("embed.W_E", ProcessingStep::CenterWritingWeights),
        ("pos_embed.W_pos", ProcessingStep::CenterWritingWeights),
        ("blocks.1.attn.W_O", ProcessingStep::CenterWritingWeights),
        ("blocks.1.mlp.W_out", ProcessingStep::CenterWritingWeights),
        ("unembed.W_U", ProcessingStep::CenterUnembed),
    ] {
        let weight = weight(name, step);
        assert!(distance(&weight, &centered(&weight)) < 1e-15, "{name}");
    }
}

#[test]
fn twice_is_as_good_as_once() {
    let model = Small::new();
    let processing = Processing::compat(&spec());
    let request = padded(Padding::Right, Vec::new()).processed(processing.clone());
    for weight in spec().weights() {
        let quantity = Quantity::Weight(weight.name.clone());
        let once = model.value(&request, &quantity);
        let twice = model.source.processed_twice(&processing, &weight.name);
        assert!(distance(&once, &twice) < 1e-14, "{}", weight.name);
    }
}
