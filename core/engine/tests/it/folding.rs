//! Processing of families that the engine does not run yet: what reads a folded norm, or a value without its bias,
//! computes what it computed before.

use tlbench_engine::CanonicalWeights;
use tlbench_sdk::spec::{
    Branch, BranchInput, DenseMlp, LayerSpec, MlpSpec, NormKind, NormSpec, ResidualSource,
    TensorSource,
};
use tlbench_sdk::{DType, ModelSpec, Processing, ProcessingStep};

use crate::model::{Small, largest_difference, random};
use crate::{bloom, gemma2, gpt_neox, llama, mixtral};

fn families() -> Vec<(&'static str, ModelSpec)> {
    let mut parallel = gpt_neox::spec();
    for layer in &mut parallel.layers {
        layer.mlp.as_mut().unwrap().input = BranchInput::SharedNorm;
    }
    let mut plain_bloom = bloom::spec();
    for layer in &mut plain_bloom.layers {
        layer.attn.as_mut().unwrap().residual = ResidualSource::Stream;
        layer.mlp.as_mut().unwrap().residual = ResidualSource::Stream;
    }
    vec![
        ("bloom", plain_bloom),
        ("gemma2", gemma2::spec()),
        ("gpt_neox", gpt_neox::spec()),
        ("one norm for both branches", parallel),
        ("llama", llama::spec()),
        ("llama with LayerNorms", with_layer_norms(llama::spec())),
        ("mixtral", mixtral::spec()),
        ("mixtral with LayerNorms", with_layer_norms(mixtral::spec())),
    ]
}

/// Gated networks behind norms that centre, with biases (StableLM, and experts of that kind).
fn with_layer_norms(mut spec: ModelSpec) -> ModelSpec {
    fn change(norm: &mut NormSpec) {
        norm.kind = NormKind::LayerNorm;
        let mut bias = norm.gain.clone().unwrap();
        bias.names = vec![bias.names[0].replace("weight", "bias")];
        norm.bias = Some(bias);
    }
    fn change_input<T>(branch: &mut Option<Branch<T>>) {
        if let BranchInput::Norm(norm) = &mut branch.as_mut().unwrap().input {
            change(norm);
        }
    }
    for layer in &mut spec.layers {
        change_input(&mut layer.attn);
        change_input(&mut layer.mlp);
    }
    change(spec.final_norm.as_mut().unwrap());
    spec
}

fn read(spec: &ModelSpec) -> CanonicalWeights {
    let small = Small::of(spec.clone());
    CanonicalWeights::read(spec, &small.weights(), DType::F64).unwrap()
}

fn processed(weights: &CanonicalWeights, step: ProcessingStep) -> CanonicalWeights {
    let processing: Processing = [step].into_iter().collect();
    weights.processed(&processing).unwrap()
}

/// Every reader of a norm: the norm's name, and the reader's weight and bias.
fn readers(spec: &ModelSpec) -> Vec<(String, String, String)> {
    let mut readers = vec![(
        "ln_final".into(),
        "unembed.W_U".into(),
        "unembed.b_U".into(),
    )];
    for (index, layer) in spec.layers.iter().enumerate() {
        let block = format!("blocks.{index}");
        let mut push = |norm: &str, component: &str, part: &str| {
            readers.push((
                format!("{block}.{norm}"),
                format!("{block}.{component}.W_{part}"),
                format!("{block}.{component}.b_{part}"),
            ));
        };
        for part in ["Q", "K", "V"] {
            push("ln1", "attn", part);
        }
        let norm = norm_of_mlp(layer);
        match &layer.mlp.as_ref().unwrap().body {
            MlpSpec::Dense(dense) => parts(dense)
                .into_iter()
                .for_each(|part| push(norm, "mlp", part)),
            MlpSpec::Moe(moe) => {
                push(norm, "mlp", "gate");
                for (expert, dense) in moe.experts.iter().enumerate() {
                    let name = format!("mlp.experts.{expert}");
                    parts(dense)
                        .into_iter()
                        .for_each(|part| push(norm, &name, part));
                }
            }
        }
    }
    readers
}

fn norm_of_mlp(layer: &LayerSpec) -> &'static str {
    match layer.mlp.as_ref().unwrap().input {
        BranchInput::SharedNorm => "ln1",
        _ => "ln2",
    }
}

fn parts(dense: &DenseMlp) -> Vec<&'static str> {
    let gate = dense.gate.as_ref().map(|_| "gate");
    std::iter::once("in").chain(gate).collect()
}

/// `(x * gain + shift) W + b`, for a weight `[.., d_model, width]` and its bias `[.., width]`.
fn read_through(
    weights: &CanonicalWeights,
    x: &[f64],
    [norm, weight, bias]: [&str; 3],
) -> Vec<f64> {
    let get = |name: &str| weights.get(name).unwrap().to_f64_vec();
    let (gain, shift) = (get(&format!("{norm}.w")), get(&format!("{norm}.b")));
    let input: Vec<f64> = (0..x.len()).map(|i| x[i] * gain[i] + shift[i]).collect();
    let tensor = weights.get(weight).unwrap();
    let width = tensor.shape()[tensor.shape().len() - 1];
    let (values, bias) = (tensor.to_f64_vec(), get(bias));
    let output = |index: usize| {
        let (head, column) = (index / width, index % width);
        let rows = values[head * x.len() * width..].chunks(width);
        let terms = rows.zip(&input).map(|(row, input)| row[column] * input);
        terms.sum::<f64>() + bias[index]
    };
    (0..bias.len()).map(output).collect()
}

fn normalized(d_model: usize, centred: bool) -> Vec<f64> {
    let x: Vec<f64> = random(99, d_model).into_iter().map(f64::from).collect();
    let mean = if centred {
        x.iter().sum::<f64>() / d_model as f64
    } else {
        0.0
    };
    x.iter().map(|value| value - mean).collect()
}

#[test]
fn every_reader_of_a_folded_norm_computes_what_it_did() {
    for (family, spec) in families() {
        let centred = spec.final_norm.as_ref().unwrap().kind == NormKind::LayerNorm;
        let x = normalized(spec.d_model, centred);
        let raw = read(&spec);
        let folded = processed(&raw, ProcessingStep::FoldLn);
        folded.spec().check().unwrap();
        for (norm, weight, bias) in readers(&spec) {
            let names = [norm.as_str(), &weight, &bias];
            let (before, after) = (
                read_through(&raw, &x, names),
                read_through(&folded, &x, names),
            );
            assert!(
                largest_difference(&before, &after) < 1e-12,
                "{family}: {weight}"
            );
            let gain = folded.get(&format!("{norm}.w")).unwrap().to_f64_vec();
            assert!(gain.iter().all(|gain| *gain == 1.0), "{family}: {norm}");
            if centred {
                // The same input with a mean: a centred reader does not see it.
                let shifted: Vec<f64> = x.iter().map(|value| value + 1.0).collect();
                let shifted = read_through(&folded, &shifted, names);
                assert!(
                    largest_difference(&after, &shifted) < 1e-12,
                    "{family}: {weight}"
                );
            }
        }
    }
}

#[test]
fn the_bias_of_a_value_reaches_every_query_head_that_it_serves() {
    let mut spec = llama::spec();
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let attention = &mut layer.attn.as_mut().unwrap().body;
        let path = format!("model.layers.{index}.v");
        let width = attention.n_kv_heads * attention.d_head;
        attention.v.bias = Some(TensorSource::new([path], [width]));
    }
    let raw = read(&spec);
    let folded = processed(&raw, ProcessingStep::FoldValueBiases);
    let attention = &spec.layers[1].attn.as_ref().unwrap().body;
    let served = attention.n_heads / attention.n_kv_heads;
    assert!(served > 1, "otherwise there is nothing to see");
    let output = |weights: &CanonicalWeights| {
        let get = |part: &str| {
            weights
                .get(&format!("blocks.1.attn.{part}"))
                .unwrap()
                .to_f64_vec()
        };
        let (b_v, w_o, mut out) = (get("b_V"), get("W_O"), get("b_O"));
        for (at, row) in w_o.chunks(spec.d_model).enumerate() {
            let (head, channel) = (at / attention.d_head, at % attention.d_head);
            let bias = b_v[head / served * attention.d_head + channel];
            out.iter_mut()
                .zip(row)
                .for_each(|(out, weight)| *out += bias * weight);
        }
        out
    };
    assert!(largest_difference(&output(&raw), &output(&folded)) < 1e-12);
    let left = folded.get("blocks.1.attn.b_V").unwrap().to_f64_vec();
    assert!(left.iter().all(|bias| *bias == 0.0));
}
