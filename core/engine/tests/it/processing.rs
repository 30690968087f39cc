//! Weight processing: the function stays, and the weights become what the steps say.

use tlbench_engine::{Bridge, CanonicalWeights};
use tlbench_sdk::spec::{
    BranchInput, CanonicalWeight, Mask, NormKind, NormSpec, ProjectionSpec, TensorSource,
};
use tlbench_sdk::{
    DType, ModelSpec, Padding, Processing, ProcessingStep, Quantity, Tensor, TraceRequest,
};

use crate::features::{self, Feature};
use crate::model::{D_MODEL, Small, ask, largest_difference};

const FEATURES: [Feature; 9] = [
    ("untied head with a bias", |spec| {
        let head = &mut spec.unembed.projection;
        head.weight.names = vec!["head.w".into()];
        head.bias = Some(TensorSource::new(["head.b"], [spec.d_vocab]));
    }),
    ("no positions", |spec| spec.embedding.positions = None),
    ("positions from row 2", |spec| {
        if let Some(positions) = &mut spec.embedding.positions {
            positions.offset = 2;
        }
    }),
    ("gains around 0", |spec| {
        norms(spec).for_each(|norm| norm.gain_offset = 1.0);
    }),
    ("norms without biases", |spec| {
        norms(spec).for_each(|norm| norm.bias = None);
    }),
    ("no biases of q, k, v and in", |spec| {
        projections(spec).for_each(|projection| projection.bias = None);
    }),
    ("RMS norms", |spec| {
        norms(spec).for_each(|norm| norm.kind = NormKind::RmsNorm);
    }),
    ("attention alone, and an MLP alone", |spec| {
        spec.layers[0].mlp = None;
        spec.layers[1].attn = None;
    }),
    ("a window", |spec| {
        let attn = spec
            .layers
            .iter_mut()
            .filter_map(|layer| layer.attn.as_mut());
        attn.for_each(|attn| attn.body.mask = Mask::sliding(2));
    }),
];

fn norms(spec: &mut ModelSpec) -> impl Iterator<Item = &mut NormSpec> {
    fn own<T>(input: &mut tlbench_sdk::spec::Branch<T>) -> Option<&mut NormSpec> {
        match &mut input.input {
            BranchInput::Norm(norm) => Some(norm),
            _ => None,
        }
    }
    let layers = spec.layers.iter_mut().flat_map(|layer| {
        [
            layer.attn.as_mut().and_then(own),
            layer.mlp.as_mut().and_then(own),
        ]
    });
    layers.flatten().chain(&mut spec.final_norm)
}

fn projections(spec: &mut ModelSpec) -> impl Iterator<Item = &mut ProjectionSpec> {
    spec.layers.iter_mut().flat_map(|layer| {
        let attn = layer.attn.iter_mut();
        let attn = attn.flat_map(|attn| [&mut attn.body.q, &mut attn.body.k, &mut attn.body.v]);
        let mlp = layer.mlp.iter_mut().filter_map(|mlp| match &mut mlp.body {
            tlbench_sdk::spec::MlpSpec::Dense(dense) => Some(&mut dense.input),
            tlbench_sdk::spec::MlpSpec::Moe(_) => None,
        });
        attn.chain(mlp)
    })
}

/// The small model, each feature alone, and pairs of them.
fn models() -> Vec<(String, Small)> {
    let all: Vec<Feature> = FEATURES.into_iter().chain(features::FEATURES).collect();
    let mut models = vec![("as it is".to_owned(), Small::new())];
    for (index, (name, change)) in all.iter().enumerate() {
        let mut spec = Small::new().spec;
        change(&mut spec);
        models.push(((*name).to_owned(), Small::of(spec.clone())));
        // Features of families are combined with the plain ones alone: two of them may not go together.
        for (other, further) in FEATURES.iter().skip(index + 1).chain(plain_for(index)) {
            let mut spec = spec.clone();
            further(&mut spec);
            if spec.check().is_ok() {
                models.push((format!("{name}, {other}"), Small::of(spec)));
            }
        }
    }
    models
}

/// What a feature of a family is combined with.
fn plain_for(index: usize) -> &'static [Feature] {
    match index < FEATURES.len() {
        true => &[],
        false => &FEATURES,
    }
}

fn questions() -> TraceRequest {
    // Unpadded: a query of padding may see no key at all, and then no bias of a value either.
    let rows = [vec![3, 1, 4, 22, 5], vec![1, 2, 6, 6, 0]];
    let mut request = ask(&rows, Padding::Right, &[]);
    request.capture = vec![Quantity::LogProbs];
    request
}

fn log_probs(bridge: &Bridge, request: &TraceRequest) -> Vec<f64> {
    let trace = bridge.run(request).unwrap();
    trace.value(&Quantity::LogProbs).unwrap().to_f64_vec()
}

fn all_of(spec: &ModelSpec) -> Vec<Processing> {
    Processing::compat(spec).combinations()
}

#[test]
fn every_combination_of_steps_keeps_every_log_probability() {
    for (name, small) in models() {
        let bridge = small.bridge(DType::F64);
        let raw = log_probs(&bridge, &questions());
        for processing in all_of(&small.spec) {
            let processed = log_probs(&bridge, &questions().processed(processing.clone()));
            let error = largest_difference(&raw, &processed);
            assert!(error < 1e-12, "{name}, {processing}: {error}");
        }
    }
}

#[test]
fn in_f32_the_log_probabilities_change_by_rounding_alone() {
    let small = Small::new();
    let exact = log_probs(&small.bridge(DType::F64), &questions());
    let rounded = small.bridge(DType::F32);
    let raw = largest_difference(&exact, &log_probs(&rounded, &questions()));
    let compat = largest_difference(&exact, &log_probs(&rounded.compat().unwrap(), &questions()));
    assert!(compat < 4.0 * raw && compat < 1e-5, "{compat} for {raw}");
}

#[test]
fn in_a_narrow_precision_weights_are_values_of_it() {
    let bridge = Small::new().bridge(DType::BF16).compat().unwrap();
    let weight = bridge.weights().get("blocks.0.attn.W_Q").unwrap();
    let values = weight.as_slice::<f32>().unwrap();
    assert!(
        values
            .iter()
            .all(|value| half::bf16::from_f32(*value).to_f32() == *value)
    );
}

#[test]
fn the_raw_bridge_answers_as_before() {
    let bridge = Small::new().bridge(DType::F32);
    let before = bridge.run(&questions()).unwrap();
    for processing in all_of(bridge.spec()) {
        bridge.run(&questions().processed(processing)).unwrap();
    }
    assert_eq!(bridge.run(&questions()).unwrap(), before);
}

#[test]
fn a_processed_bridge_answers_as_a_request_for_processing_does_and_keeps_its_steps() {
    let bridge = Small::new().bridge(DType::F32);
    let compat = Processing::compat(bridge.spec());
    let by_request = bridge.run(&questions().processed(compat.clone())).unwrap();
    let by_bridge = bridge.compat().unwrap();
    assert_eq!(by_bridge.processing(), &compat);
    assert_eq!(by_bridge.run(&questions()).unwrap(), by_request);
    let one_by_one = compat.steps().fold(bridge.clone(), |bridge, step| {
        bridge.processed(&[step].into_iter().collect()).unwrap()
    });
    assert_eq!(one_by_one.run(&questions()).unwrap(), by_request);
    assert_eq!(
        by_bridge.compat().unwrap().run(&questions()).unwrap(),
        by_request
    );
    assert!(bridge.processing().is_raw());
}

#[test]
fn a_step_that_is_not_for_the_model_is_refused_with_the_reason() {
    let mut spec = Small::new().spec;
    norms(&mut spec).for_each(|norm| norm.kind = NormKind::RmsNorm);
    let bridge = Small::of(spec).bridge(DType::F32);
    let steps = [ProcessingStep::FoldLn, ProcessingStep::CenterWritingWeights];
    let error = bridge
        .run(&questions().processed(steps.into_iter().collect()))
        .unwrap_err();
    insta::assert_snapshot!(error, @"center_writing_weights is not for this model: blocks.0.attn reads the stream through an RMS norm, which sees its mean");
    let kind = tlbench_sdk::PluginError::from(error).kind;
    assert_eq!(kind, tlbench_sdk::ErrorKind::Missing);
}

fn weight(bridge: &Bridge, name: &str) -> Vec<f64> {
    bridge.weights().get(name).unwrap().to_f64_vec()
}

/// The largest mean over runs of `width` values that follow each other.
fn largest_mean(values: &[f64], width: usize) -> f64 {
    let mean = |run: &[f64]| (run.iter().sum::<f64>() / run.len() as f64).abs();
    values.chunks(width).map(mean).fold(0.0, f64::max)
}

#[test]
fn after_all_steps_gains_are_1_and_biases_of_norms_and_values_0() {
    let bridge = Small::new().bridge(DType::F64).compat().unwrap();
    for norm in ["blocks.0.ln1", "blocks.1.ln2", "ln_final"] {
        assert_eq!(weight(&bridge, &format!("{norm}.w")), [1.0; D_MODEL]);
        assert_eq!(weight(&bridge, &format!("{norm}.b")), [0.0; D_MODEL]);
    }
    for block in 0..2 {
        assert!(
            weight(&bridge, &format!("blocks.{block}.attn.b_V"))
                .iter()
                .all(|b| *b == 0.0)
        );
    }
}

#[test]
fn after_all_steps_what_is_written_and_the_unembedding_have_no_mean() {
    let bridge = Small::new().bridge(DType::F64).compat().unwrap();
    let written = [
        "embed.W_E",
        "pos_embed.W_pos",
        "blocks.1.attn.W_O",
        "blocks.1.attn.b_O",
    ];
    for name in written
        .into_iter()
        .chain(["blocks.1.mlp.W_out", "blocks.1.mlp.b_out"])
    {
        assert!(
            largest_mean(&weight(&bridge, name), D_MODEL) < 1e-15,
            "{name}"
        );
    }
    for name in ["unembed.W_U", "unembed.b_U"] {
        let vocabulary = bridge.spec().d_vocab;
        assert!(
            largest_mean(&weight(&bridge, name), vocabulary) < 1e-15,
            "{name}"
        );
    }
}

#[test]
fn the_raw_and_the_processed_model_have_weights_of_the_same_names_and_shapes() {
    let bridge = Small::new().bridge(DType::F32);
    let compat = bridge.compat().unwrap();
    for CanonicalWeight { name, source } in bridge.spec().weights() {
        let request = |processing| {
            let mut request = questions().processed(processing);
            request.capture = vec![Quantity::Weight(name.clone())];
            bridge
                .run(&request)
                .unwrap()
                .values
                .remove(&Quantity::Weight(name.clone()))
                .unwrap()
        };
        let raw = request(Processing::raw());
        let processed = request(compat.processing().clone());
        assert_eq!(raw.shape(), source.cut_shape().unwrap(), "{name}");
        assert_eq!(raw.shape(), processed.shape(), "{name}");
    }
    assert_eq!(
        compat.weights().get("unembed.b_U").unwrap().shape(),
        [bridge.spec().d_vocab]
    );
}

/// The small model, and each plain feature alone.
fn plain_models() -> Vec<(&'static str, Small)> {
    let changed = FEATURES.into_iter().map(|(name, change)| {
        let mut spec = Small::new().spec;
        change(&mut spec);
        (name, Small::of(spec))
    });
    std::iter::once(("as it is", Small::new()))
        .chain(changed)
        .collect()
}

#[test]
fn a_weight_that_is_asked_for_alone_is_what_it_is_among_all() {
    for (name, small) in plain_models() {
        // Of the one no set of weights is ever made, so that the other's are not shown by it.
        let [asked_alone, bridge] = [(); 2].map(|()| small.bridge(DType::F32));
        for processing in all_of(&small.spec) {
            let all = bridge.processed(&processing).unwrap();
            for CanonicalWeight { name: weight, .. } in small.spec.weights() {
                let asked = Quantity::Weight(weight.clone());
                let mut request = questions().processed(processing.clone());
                request.capture = vec![asked.clone()];
                let trace = asked_alone.run(&request).unwrap();
                assert_eq!(
                    trace.value(&asked).unwrap(),
                    &all.weights().get(&weight).unwrap(),
                    "{name}, {processing}: {weight}"
                );
            }
        }
    }
}

#[test]
fn stacked_weights_are_those_of_the_blocks() {
    let weights = Small::new().bridge(DType::F32).weights().clone();
    let stacked = weights.stacked("attn.W_Q").unwrap();
    assert_eq!(stacked.shape(), [2, 3, D_MODEL, 4]);
    let second = weights.get("blocks.1.attn.W_Q").unwrap();
    assert_eq!(stacked.to_f64_vec()[second.len()..], second.to_f64_vec());
}

/// The processed weights as a checkpoint of their own, whose final norm has a gain of ones, so that it can be folded.
fn saved(weights: &CanonicalWeights) -> Small {
    let mut spec = weights.spec().clone();
    let mut tensors: Vec<(String, Tensor)> = spec
        .rename_weights()
        .into_iter()
        .map(|CanonicalWeight { name, .. }| {
            spec.take_canonical(&name);
            let weight = weights.get(&name).unwrap();
            (name, weight)
        })
        .collect();
    spec.take_canonical("ln_final.w");
    tensors.push(("ln_final.w".into(), weights.get("ln_final.w").unwrap()));
    Small::with(spec, tensors)
}

#[test]
fn processing_twice_changes_no_weight_by_more_than_rounding() {
    for (dtype, roundoff) in [
        (DType::F64, f64::EPSILON),
        (DType::F32, f64::from(f32::EPSILON)),
    ] {
        for processing in all_of(&Small::new().spec) {
            let small = Small::new();
            let raw = CanonicalWeights::read(&small.spec, &small.weights(), dtype).unwrap();
            let once = raw.processed(&processing).unwrap();
            let again = saved(&once);
            let again = CanonicalWeights::read(&again.spec, &again.weights(), dtype).unwrap();
            let twice = again.processed(&processing).unwrap();
            for CanonicalWeight { name, .. } in raw.spec().weights() {
                let once = once.get(&name).unwrap().to_f64_vec();
                let largest = once
                    .iter()
                    .fold(0.0, |most: f64, value| most.max(value.abs()));
                let error = largest_difference(&once, &twice.get(&name).unwrap().to_f64_vec());
                assert!(
                    error <= roundoff * largest,
                    "{name}, {processing}, {dtype}: {error}"
                );
            }
        }
    }
}
