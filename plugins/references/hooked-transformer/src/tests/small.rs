//! A small GPT-2-like model with random weights, all dimensions different.

use std::collections::BTreeMap;
use std::fs;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tempfile::TempDir;
use tlbench_sdk::calibration::{Computes, Precision, Values};
use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, Cut, DenseMlp, EmbeddingSpec, LayerSpec,
    Mask, MlpSpec, NormKind, NormSpec, PositionSpec, PositionTable, ProjectionSpec, TensorSource,
    UnembedSpec, Wiring,
};
use tlbench_sdk::{
    ModelSpec, Padding, Quantity, Stimulus, Tensor, Trace, TraceRequest, TraceSource, noise,
};

use crate::source::Source;

pub(super) const D_MODEL: usize = 12;
pub(super) const HEADS: usize = 3;
const D_HEAD: usize = 4;
const D_MLP: usize = 19;
pub(super) const D_VOCAB: usize = 23;
const N_CTX: usize = 9;

/// The model, ready to answer, and the folder that its weights lie in.
pub(super) struct Small {
    pub(super) source: Source,
    pub(super) spec: ModelSpec,
    _folder: TempDir,
}

impl Small {
    pub(super) fn new() -> Self {
        Self::of(spec())
    }

    pub(super) fn of(spec: ModelSpec) -> Self {
        Self::announced(spec, &[])
    }

    /// The model of `spec`, which is told what it will be asked.
    pub(super) fn announced(spec: ModelSpec, stimuli: &[Stimulus]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("config.json"),
            r#"{"model_type": "small"}"#,
        )
        .unwrap();
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for (_, source) in spec.sources() {
            // A tied head takes what is there.
            if source.names.iter().any(|name| tensors.contains_key(name)) {
                continue;
            }
            let name = &source.names[0];
            let values = noise(seed(name), source.shape.iter().product());
            let values = values.into_iter().map(|value| value as f32 / 2.0);
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            tensors.insert(name.clone(), (source.shape.clone(), bytes));
        }
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.unwrap())
        });
        serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        Self {
            source: Source::new(folder.path(), spec.clone(), stimuli).unwrap(),
            spec,
            _folder: folder,
        }
    }

    pub(super) fn ask(&self, request: &TraceRequest) -> Trace {
        let trace = self.source.trace(request).unwrap();
        trace.check(request).unwrap();
        trace
    }

    /// The value of `quantity` in f64, without the runs that measure rounding.
    pub(super) fn exact(&self, request: &TraceRequest, quantity: &Quantity) -> Tensor {
        let mut request = request.clone();
        request.capture = vec![quantity.clone()];
        self.all_exact(&request).remove(quantity).unwrap()
    }

    /// The same of everything that `request` captures.
    pub(super) fn all_exact(&self, request: &TraceRequest) -> Values {
        let weights = self.source.model(request).unwrap();
        let values = self.source.run(&weights, request, Precision::Exact);
        values.unwrap()
    }

    /// The value of `quantity`, with all that is measured beside it.
    pub(super) fn value(&self, request: &TraceRequest, quantity: &Quantity) -> Tensor {
        let mut request = request.clone();
        request.capture = vec![quantity.clone()];
        self.ask(&request).value(quantity).unwrap().clone()
    }
}

/// The noise of a tensor, by its name alone: scripts make the same.
fn seed(name: &str) -> u64 {
    let step = |value: u32, byte: u8| value.wrapping_mul(31).wrapping_add(u32::from(byte));
    name.bytes().fold(0, step).into()
}

pub(super) fn spec() -> ModelSpec {
    with_heads(HEADS, D_HEAD)
}

/// The same with this many heads of `d_head` in each layer.
pub(super) fn with_heads(heads: usize, d_head: usize) -> ModelSpec {
    ModelSpec {
        architecture: "Small".into(),
        d_model: D_MODEL,
        d_vocab: D_VOCAB,
        n_ctx: Some(N_CTX),
        embedding: EmbeddingSpec {
            tokens: TensorSource::new(["wte"], [D_VOCAB, D_MODEL]),
            module: None,
            scale: None,
            positions: Some(PositionTable {
                table: TensorSource::new(["wpe"], [N_CTX, D_MODEL]),
                offset: 0,
                module: None,
                config_keys: Vec::new(),
            }),
            norm: None,
            config_keys: Vec::new(),
        },
        layers: (0..2).map(|index| layer(index, heads, d_head)).collect(),
        final_norm: Some(norm("ln_f")),
        unembed: UnembedSpec {
            projection: ProjectionSpec {
                weight: TensorSource::new(["wte"], [D_VOCAB, D_MODEL]),
                bias: None,
                tap: None,
            },
            d_vocab_out: D_VOCAB,
            logit_scale: 1.0,
            softcap: None,
            config_keys: Vec::new(),
        },
        ignored_tensors: Vec::new(),
    }
}

fn layer(index: usize, heads: usize, d_head: usize) -> LayerSpec {
    let width = heads * d_head;
    let name = |part: &str| format!("h.{index}.{part}");
    let part = |start: usize| {
        let slice = |dim| Cut::Slice {
            dim,
            start: start * width,
            len: width,
        };
        ProjectionSpec {
            weight: TensorSource::new([name("qkv.w")], [D_MODEL, 3 * width])
                .cut(slice(1))
                .cut(Cut::Transpose),
            bias: Some(TensorSource::new([name("qkv.b")], [3 * width]).cut(slice(0))),
            tap: None,
        }
    };
    let attention = AttentionSpec {
        n_heads: heads,
        n_kv_heads: heads,
        d_head,
        q: part(0),
        k: part(1),
        v: part(2),
        o: linear(&name("o"), width, D_MODEL),
        clip_qkv: None,
        qk_norm: None,
        position: PositionSpec::None,
        scale: 0.5,
        softcap: None,
        mask: Mask::CAUSAL,
        sinks: None,
        module: None,
        port: AttentionPort::Opaque,
        config_keys: Vec::new(),
    };
    let mlp = DenseMlp {
        d_mlp: D_MLP,
        input: linear(&name("in"), D_MODEL, D_MLP),
        gate: None,
        output: linear(&name("out"), D_MLP, D_MODEL),
        activation: Activation::GeluTanh,
        module: None,
        post_tap: None,
        config_keys: Vec::new(),
    };
    LayerSpec {
        wiring: Wiring::Sequential,
        attn: Some(Branch::pre_norm(norm(&name("ln1")), attention)),
        mlp: Some(Branch::pre_norm(norm(&name("ln2")), MlpSpec::Dense(mlp))),
        module: None,
        taps: BTreeMap::new(),
    }
}

/// A linear map stored as Conv1D stores it.
fn linear(name: &str, inputs: usize, outputs: usize) -> ProjectionSpec {
    ProjectionSpec {
        weight: TensorSource::new([format!("{name}.w")], [inputs, outputs]).cut(Cut::Transpose),
        bias: Some(TensorSource::new([format!("{name}.b")], [outputs])),
        tap: None,
    }
}

fn norm(name: &str) -> NormSpec {
    NormSpec {
        kind: NormKind::LayerNorm,
        eps: 1e-5,
        gain: Some(TensorSource::new([format!("{name}.w")], [D_MODEL])),
        gain_offset: 0.0,
        bias: Some(TensorSource::new([format!("{name}.b")], [D_MODEL])),
        module: None,
        config_keys: Vec::new(),
    }
}

/// Two rows of tokens of unequal length, looked at in `capture`.
pub(super) fn padded(padding: Padding, capture: Vec<Quantity>) -> TraceRequest {
    let rows = [vec![3, 1, 4, 1, 5, 9], vec![2, 6, 5]];
    question(&rows, padding, capture)
}

/// A question about `rows`.
pub(super) fn question(
    rows: &[Vec<i64>],
    padding: Padding,
    capture: Vec<Quantity>,
) -> TraceRequest {
    let stimulus = Stimulus::from_rows("test", rows, padding, 0).unwrap();
    TraceRequest::new(stimulus.request.inputs, capture)
}

/// The largest absolute difference; equal infinities have none.
pub(super) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.to_f64_vec().into_iter().zip(b.to_f64_vec());
    let difference = |(a, b): (f64, f64)| if a == b { 0.0 } else { (a - b).abs() };
    // `max` would drop a NaN.
    pairs
        .map(difference)
        .fold(0.0, |most, d| if d > most || d.is_nan() { d } else { most })
}
