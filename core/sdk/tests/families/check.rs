//! What holds for every spec, whatever the family.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    AttentionSpec, Branch, BranchInput, DenseMlp, Extent, HeadNorm, MlpSpec, MoeSpec, NormSpec,
    PositionSpec, ProjectionSpec, TensorSource,
};
use tlbench_sdk::{ModelSpec, Tensor};

/// Every source is cut to the shape that its component's documentation names.
pub(crate) fn shapes(family: &str, spec: &ModelSpec) {
    let mut shapes = Shapes {
        d_model: spec.d_model,
        checked: 0,
    };
    shapes.spec(spec);
    // A source that this walk forgets would go unchecked.
    assert_eq!(shapes.checked, spec.sources().len(), "{family}");
}

struct Shapes {
    d_model: usize,
    checked: usize,
}

impl Shapes {
    fn spec(&mut self, spec: &ModelSpec) {
        let embedding = &spec.embedding;
        self.source(&embedding.tokens, &[spec.d_vocab, self.d_model]);
        if let Some(positions) = &embedding.positions {
            let rows = spec.n_ctx.unwrap() + positions.offset;
            self.source(&positions.table, &[rows, self.d_model]);
        }
        self.norms([&embedding.norm, &spec.final_norm]);
        for layer in &spec.layers {
            if let Some(branch) = &layer.attn {
                self.branch(branch);
                self.attention(&branch.body);
            }
            if let Some(branch) = &layer.mlp {
                self.branch(branch);
                match &branch.body {
                    MlpSpec::Dense(dense) => self.dense(dense),
                    MlpSpec::Moe(moe) => self.moe(moe),
                }
            }
        }
        let unembed = &spec.unembed;
        self.projection(&unembed.projection, unembed.d_vocab_out, self.d_model);
    }

    fn branch<T>(&mut self, branch: &Branch<T>) {
        if let BranchInput::Norm(norm) = &branch.input {
            self.norm(norm, self.d_model);
        }
        self.norms([&branch.output_norm, &branch.sum_norm]);
    }

    fn attention(&mut self, attention: &AttentionSpec) {
        let queries = attention.n_heads * attention.d_head;
        let keys = attention.n_kv_heads * attention.d_head;
        assert!(attention.n_heads.is_multiple_of(attention.n_kv_heads));
        self.projection(&attention.q, queries, self.d_model);
        self.projection(&attention.k, keys, self.d_model);
        self.projection(&attention.v, keys, self.d_model);
        self.projection(&attention.o, self.d_model, queries);
        if let Some(norms) = &attention.qk_norm {
            self.head_norm(&norms.q, attention.d_head, queries);
            self.head_norm(&norms.k, attention.d_head, keys);
        }
        match &attention.position {
            PositionSpec::None => {}
            PositionSpec::Rotary(rotary) => {
                assert!(rotary.dim <= attention.d_head && rotary.dim.is_multiple_of(2));
            }
            PositionSpec::Alibi(alibi) => assert_eq!(alibi.slopes.len(), attention.n_heads),
            PositionSpec::RelativeBias(bias) => {
                self.source(&bias.table, &[bias.n_buckets, attention.n_heads]);
            }
        }
        if let Some(sinks) = &attention.sinks {
            self.source(sinks, &[attention.n_heads]);
        }
    }

    fn head_norm(&mut self, norm: &HeadNorm, head: usize, all: usize) {
        let width = match norm.extent {
            Extent::Head => head,
            Extent::AllHeads => all,
        };
        self.norm(&norm.norm, width);
    }

    fn dense(&mut self, dense: &DenseMlp) {
        self.projection(&dense.input, dense.d_mlp, self.d_model);
        if let Some(gate) = &dense.gate {
            self.projection(gate, dense.d_mlp, self.d_model);
        }
        self.projection(&dense.output, self.d_model, dense.d_mlp);
    }

    fn moe(&mut self, moe: &MoeSpec) {
        let experts = moe.experts.len();
        assert!(moe.top_k <= experts);
        self.projection(&moe.router, experts, self.d_model);
        if let Some(bias) = &moe.choice_bias {
            self.source(bias, &[experts]);
        }
        for expert in moe.experts.iter().chain(moe.shared.as_deref()) {
            self.dense(expert);
        }
    }

    fn norms(&mut self, norms: [&Option<NormSpec>; 2]) {
        for norm in norms.into_iter().flatten() {
            self.norm(norm, self.d_model);
        }
    }

    fn norm(&mut self, norm: &NormSpec, width: usize) {
        for source in norm.gain.iter().chain(&norm.bias) {
            self.source(source, &[width]);
        }
    }

    fn projection(&mut self, projection: &ProjectionSpec, outputs: usize, inputs: usize) {
        self.source(&projection.weight, &[outputs, inputs]);
        if let Some(bias) = &projection.bias {
            self.source(bias, &[outputs]);
        }
    }

    fn source(&mut self, source: &TensorSource, expected: &[usize]) {
        assert_eq!(source.cut_shape().unwrap(), expected, "{:?}", source.names);
        self.checked += 1;
    }
}

/// Each element of each tensor is taken by one component, but for the embedding, which a tied head takes as well.
pub(crate) fn taken_once(family: &str, spec: &ModelSpec) {
    let embedding = &spec.embedding.tokens.names[0];
    let tied = spec.unembed.projection.weight.names.contains(embedding);
    let mut taken: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let sources = spec.sources();
    for (role, source) in &sources {
        // A checkpoint with a tied head has no tensor of the head's own.
        let tied_head = tied && role == "unembed.weight";
        let name = if tied_head {
            embedding
        } else {
            &source.names[0]
        };
        let counts = taken
            .entry(name)
            .or_insert_with(|| vec![0; source.shape.iter().product()]);
        for place in places(source) {
            counts[place] += 1;
        }
    }
    for (name, counts) in taken {
        let expected = if tied && name == embedding { 2 } else { 1 };
        let all = counts.iter().all(|&count| count == expected);
        assert!(all, "{family}: {name}");
    }
}

/// Which elements of the stored tensor the source takes.
fn places(source: &TensorSource) -> Vec<usize> {
    let all = (0_i64..).take(source.shape.iter().product()).collect();
    let whole = Tensor::from_vec::<i64>(all, &source.shape).unwrap();
    let part = source
        .cut
        .iter()
        .try_fold(whole, |whole, cut| cut.apply(&whole))
        .unwrap();
    let places = part.as_slice::<i64>().unwrap();
    places
        .iter()
        .map(|&place| usize::try_from(place).unwrap())
        .collect()
}
