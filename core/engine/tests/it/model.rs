//! A small GPT-2-like model with random weights, all dimensions different.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tempfile::TempDir;
use tlbench_checkpoint::Weights;
use tlbench_engine::Bridge;
use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, Cut, DenseMlp, EmbeddingSpec, LayerSpec,
    Mask, MlpSpec, NormKind, NormSpec, PositionSpec, PositionTable, ProjectionSpec, TensorSource,
    UnembedSpec, Wiring,
};
use tlbench_sdk::{DType, ModelSpec, Padding, Quantity, Stimulus, Tensor, Trace, TraceRequest};

pub(crate) const D_MODEL: usize = 12;
pub(crate) const HEADS: usize = 3;
pub(crate) const D_HEAD: usize = 4;
const D_MLP: usize = 19;
const D_VOCAB: usize = 23;
const N_CTX: usize = 9;

/// The model, and the folder that its weights lie in.
pub(crate) struct Small {
    pub(crate) spec: ModelSpec,
    pub(crate) folder: TempDir,
}

impl Small {
    pub(crate) fn new() -> Self {
        Self::of(spec())
    }

    /// Random weights for `spec`.
    pub(crate) fn of(spec: ModelSpec) -> Self {
        let weights = weights_of(&spec);
        Self::with(spec, weights)
    }

    pub(crate) fn with(
        spec: ModelSpec,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
    ) -> Self {
        let small = Self {
            spec,
            folder: tempfile::tempdir().unwrap(),
        };
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let views = tensors.iter().map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                DType::F64 => Dtype::F64,
                _ => Dtype::F32,
            };
            let shape = tensor.shape().to_vec();
            (name, TensorView::new(dtype, shape, tensor.bytes()).unwrap())
        });
        serialize_to_file(views, None, &small.file()).unwrap();
        small
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("model.safetensors")
    }

    pub(crate) fn weights(&self) -> Weights {
        Weights::open(self.file()).unwrap()
    }

    pub(crate) fn bridge(&self, dtype: DType) -> Bridge {
        Bridge::open(&self.spec, &self.weights(), dtype).unwrap()
    }
}

/// Numbers between -1 and 1, the same for the same seed.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Random weights for `spec`, by the name that each is stored under.
pub(crate) fn weights_of(spec: &ModelSpec) -> BTreeMap<String, Tensor> {
    let sources = spec.sources().into_iter().enumerate();
    let weights = sources.map(|(seed, (_, source))| {
        let values = random(seed as u64 + 1, source.shape.iter().product());
        let weight = Tensor::from_vec(values, &source.shape).unwrap();
        (source.names[0].clone(), weight)
    });
    weights.collect()
}

pub(crate) fn spec() -> ModelSpec {
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
        layers: (0..2).map(layer).collect(),
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

fn layer(index: usize) -> LayerSpec {
    let name = |part: &str| format!("h.{index}.{part}");
    let part = |start: usize| {
        let slice = |dim| Cut::Slice {
            dim,
            start: start * D_MODEL,
            len: D_MODEL,
        };
        ProjectionSpec {
            weight: TensorSource::new([name("qkv.w")], [D_MODEL, 3 * D_MODEL])
                .cut(slice(1))
                .cut(Cut::Transpose),
            bias: Some(TensorSource::new([name("qkv.b")], [3 * D_MODEL]).cut(slice(0))),
            tap: None,
        }
    };
    let attention = AttentionSpec {
        n_heads: HEADS,
        n_kv_heads: HEADS,
        d_head: D_HEAD,
        q: part(0),
        k: part(1),
        v: part(2),
        o: linear(&name("o"), D_MODEL, D_MODEL),
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
pub(crate) fn linear(name: &str, inputs: usize, outputs: usize) -> ProjectionSpec {
    ProjectionSpec {
        weight: TensorSource::new([format!("{name}.w")], [inputs, outputs]).cut(Cut::Transpose),
        bias: Some(TensorSource::new([format!("{name}.b")], [outputs])),
        tap: None,
    }
}

pub(crate) fn norm(name: &str) -> NormSpec {
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

/// A request for hooks by name on `rows`.
pub(crate) fn ask(rows: &[Vec<i64>], padding: Padding, hooks: &[&str]) -> TraceRequest {
    let stimulus = Stimulus::from_rows("test", rows, padding, 0).unwrap();
    let capture = hooks
        .iter()
        .map(|name| Quantity::hook(*name))
        .chain([Quantity::Logits]);
    TraceRequest::new(stimulus.request.inputs, capture.collect())
}

pub(crate) fn hook(trace: &Trace, name: &str) -> Tensor {
    trace
        .value(&Quantity::hook(name))
        .unwrap_or_else(|| panic!("{name} was captured"))
        .clone()
}

pub(crate) fn logits(trace: &Trace) -> Vec<f64> {
    trace.value(&Quantity::Logits).unwrap().to_f64_vec()
}

pub(crate) fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}
