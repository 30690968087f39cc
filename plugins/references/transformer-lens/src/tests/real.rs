//! A real Python with a real TransformerLens, where one is named.

use tempfile::TempDir;
use tlbench_python_worker::to_blob;
use tlbench_sdk::{
    Dim, Gate, GradientRequest, Objective, Padding, Processing, Quantity, Stimulus, Tensor,
    TensorMap, TraceRequest, noise,
};

use super::*;

const ROWS: [&[i64]; 2] = [&[1, 2, 3, 4, 5, 6], &[7, 8]];

/// HookedTransformer with random weights, which it needs no checkpoint of transformers for.
struct Hooked {
    source: Box<dyn TraceSource>,
    _folder: TempDir,
}

impl Hooked {
    fn new() -> Self {
        let python = std::env::var("TLBENCH_TEST_TRANSFORMER_LENS");
        let python = python.expect("TLBENCH_TEST_TRANSFORMER_LENS");
        let folder = TempDir::new().unwrap();
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"model_type": "small"}"#,
        )
        .unwrap();
        let spec = spec();
        let sources = spec.sources().into_iter().enumerate();
        let tensors: TensorMap = sources
            .map(|(seed, (_, source))| {
                let count = source.shape.iter().product();
                let values = noise(seed as u64, count).into_iter();
                let values = values.map(|value| value as f32 / 2.0).collect();
                let tensor = Tensor::from_vec::<f32>(values, &source.shape).unwrap();
                (source.names[0].clone(), tensor)
            })
            .collect();
        let file = folder.path().join("model.safetensors");
        std::fs::write(file, to_blob(&tensors).unwrap()).unwrap();
        let mut request = request(folder.path(), &python);
        request.options.insert("api".to_owned(), json!("hooked"));
        let source = TransformerLens::default().open(&request, &Silence);
        Self {
            source: source.unwrap(),
            _folder: folder,
        }
    }

    fn ask(&self, request: &TraceRequest) -> tlbench_sdk::Trace {
        let trace = self.source.trace(request).unwrap();
        trace.check(request).unwrap();
        trace
    }

    fn logits(&self, request: &TraceRequest) -> Vec<f64> {
        self.ask(request)
            .value(&Quantity::Logits)
            .unwrap()
            .to_f64_vec()
    }
}

fn question(rows: &[&[i64]], capture: &[Quantity]) -> TraceRequest {
    let rows: Vec<Vec<i64>> = rows.iter().map(|row| row.to_vec()).collect();
    let stimulus = Stimulus::from_rows("question", &rows, Padding::Left, 0).unwrap();
    stimulus.showing(capture.iter().cloned()).request
}

fn worst(left: &[f64], right: &[f64]) -> f64 {
    let pairs = left.iter().zip(right);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn every_hook_is_shown_in_its_shape_with_floors_of_both_kinds() {
    let hooked = Hooked::new();
    let hooks = hooks(&spec());
    let quantities: Vec<Quantity> = hooks
        .iter()
        .map(|hook| Quantity::hook(&hook.name))
        .collect();
    let trace = hooked.ask(&question(&ROWS, &quantities));
    for (hook, quantity) in hooks.iter().zip(&quantities) {
        assert_eq!(
            trace.value(quantity).unwrap().shape(),
            hook.sizes(2, 6),
            "{}",
            hook.name
        );
        let floor = trace.floor(quantity).unwrap();
        assert!(
            floor.cumulative > 0.0 && floor.local.is_some(),
            "{}: {floor:?}",
            hook.name
        );
    }
}

#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn it_fires_the_hooks_of_the_spec_in_their_order() {
    let firings = Hooked::new().source.info().firings.unwrap();
    let plain: Vec<&str> = firings.passes[0]
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let expected: Vec<String> = hooks(&spec())
        .into_iter()
        .filter(|hook| hook.gate.is_none())
        .map(|hook| hook.name)
        .collect();
    assert_eq!(plain, expected);
}

#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn pieces_padding_and_processing_keep_what_is_computed() {
    let hooked = Hooked::new();
    let whole = question(&ROWS[..1], &[Quantity::Logits]);
    let logits = hooked.logits(&whole);
    let pieces = TraceRequest {
        chunks: vec![3, 1, 2],
        ..whole.clone()
    };
    assert!(worst(&hooked.logits(&pieces), &logits) < 1e-12);
    let padded = hooked.logits(&question(&[ROWS[0], ROWS[1]], &[Quantity::Logits]));
    assert!(worst(&padded[..logits.len()], &logits) < 1e-12);
    let probabilities = |processing| {
        let question = question(&ROWS[..1], &[Quantity::LogProbs]).processed(processing);
        hooked
            .ask(&question)
            .value(&Quantity::LogProbs)
            .unwrap()
            .to_f64_vec()
    };
    let processed = probabilities(Processing::compat(&spec()));
    assert!(worst(&processed, &probabilities(Processing::raw())) < 1e-10);
}

/// The gradients of the three that each take the norm for themselves are one.
#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn the_gradient_at_the_stream_is_what_flows_back_through_all_that_reads_it() {
    let hooked = Hooked::new();
    let names = [
        "blocks.0.ln1.hook_normalized",
        "blocks.0.hook_resid_pre",
        "hook_embed",
    ];
    let capture = names.map(|name| Quantity::HookGradient(name.to_owned()));
    let mut question = question(&ROWS[..1], &capture);
    question.gradients = Some(GradientRequest {
        objective: Objective::Loss,
    });
    let trace = hooked.ask(&question);
    let [normalized, stream, embed] =
        capture.map(|quantity| trace.value(&quantity).unwrap().clone());
    assert_eq!(stream.to_f64_vec(), embed.to_f64_vec());
    assert_eq!(normalized.shape(), [1, 6, 12]);
}

#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn what_is_looked_at_behind_a_flag_changes_nothing_else() {
    let hooked = Hooked::new();
    let gated = hooks(&spec())
        .into_iter()
        .filter(|hook| hook.gate == Some(Gate::AttnResult));
    let gated = gated.map(|hook| {
        assert!(hook.shape.contains(&Dim::Pos));
        Quantity::hook(&hook.name)
    });
    let capture: Vec<Quantity> = gated.chain([Quantity::Logits]).collect();
    let alone = hooked.logits(&question(&ROWS[..1], &[Quantity::Logits]));
    assert_eq!(hooked.logits(&question(&ROWS[..1], &capture)), alone);
}
