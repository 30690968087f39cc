//! Weights under TransformerLens's names, in its layout.

use super::walk::join;
use super::{
    AttentionSpec, Branch, Cut, DenseMlp, MlpSpec, ModelSpec, MoeSpec, NormSpec, ProjectionSpec,
    TensorSource,
};

/// A weight under TransformerLens's name, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct CanonicalWeight {
    /// `blocks.0.attn.W_Q`.
    pub name: String,
    /// The checkpoint tensor, cut to the canonical layout.
    pub source: TensorSource,
}

impl ModelSpec {
    /// Every weight of the model under its canonical name and in its canonical layout: `W_E [d_vocab, d_model]`,
    /// `W_pos [n_ctx, d_model]`, `W_Q [n_heads, d_model, d_head]`, `b_Q [n_heads, d_head]`,
    /// `W_O [n_heads, d_head, d_model]`, `W_in [d_model, d_mlp]`, `W_out [d_mlp, d_model]`, `W_U [d_model, d_vocab_out]`.
    ///
    /// Names and layouts are those of TransformerLens's `HookedTransformer.state_dict`; a norm's gain is `w`, with its
    /// offset added, its bias `b`.
    pub fn weights(&self) -> Vec<CanonicalWeight> {
        let mut list = List::default();
        list.push("embed.W_E", &self.embedding.tokens, &[]);
        if let Some(norm) = &self.embedding.norm {
            list.norm("embed.ln", norm);
        }
        if let Some(positions) = &self.embedding.positions {
            let rows = positions.table.shape.first().copied().unwrap_or(0);
            let kept = Cut::Slice {
                dim: 0,
                start: positions.offset,
                len: rows.saturating_sub(positions.offset),
            };
            let cut = if positions.offset == 0 {
                vec![]
            } else {
                vec![kept]
            };
            list.push("pos_embed.W_pos", &positions.table, &cut);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let block = format!("blocks.{index}");
            if let Some(branch) = &layer.attn {
                list.branch(&block, "ln1", branch, |list| {
                    list.attention(&format!("{block}.attn"), &branch.body, self.d_model);
                });
            }
            if let Some(branch) = &layer.mlp {
                list.branch(&block, "ln2", branch, |list| {
                    list.mlp(&format!("{block}.mlp"), &branch.body);
                });
            }
        }
        if let Some(norm) = &self.final_norm {
            list.norm("ln_final", norm);
        }
        let head = &self.unembed.projection;
        list.linear("unembed.W_U", "unembed.b_U", head);
        list.weights
    }
}

#[derive(Default)]
struct List {
    weights: Vec<CanonicalWeight>,
}

impl List {
    fn push(&mut self, name: &str, source: &TensorSource, further: &[Cut]) {
        let mut source = source.clone();
        source.cut.extend_from_slice(further);
        self.weights.push(CanonicalWeight {
            name: name.to_owned(),
            source,
        });
    }

    fn norm(&mut self, name: &str, norm: &NormSpec) {
        if let Some(gain) = &norm.gain {
            let offset = Cut::Add {
                values: vec![norm.gain_offset],
            };
            let cut = if norm.gain_offset == 0.0 {
                vec![]
            } else {
                vec![offset]
            };
            self.push(&format!("{name}.w"), gain, &cut);
        }
        if let Some(bias) = &norm.bias {
            self.push(&format!("{name}.b"), bias, &[]);
        }
    }

    fn branch<T>(
        &mut self,
        block: &str,
        norm: &str,
        branch: &Branch<T>,
        body: impl FnOnce(&mut Self),
    ) {
        if let Some(input) = branch.input_norm() {
            self.norm(&format!("{block}.{norm}"), input);
        }
        body(self);
        for (suffix, norm_spec) in [("post", &branch.output_norm), ("sum", &branch.sum_norm)] {
            if let Some(norm_spec) = norm_spec {
                self.norm(&format!("{block}.{norm}_{suffix}"), norm_spec);
            }
        }
    }

    /// `W_X [heads, d_model, d_head]`, `b_X [heads, d_head]`, and `W_O [heads, d_head, d_model]`.
    fn attention(&mut self, name: &str, attention: &AttentionSpec, d_model: usize) {
        let d_head = attention.d_head;
        for (letter, heads, projection) in [
            ("Q", attention.n_heads, &attention.q),
            ("K", attention.n_kv_heads, &attention.k),
            ("V", attention.n_kv_heads, &attention.v),
        ] {
            let per_head = [
                Cut::Reshape {
                    shape: vec![heads, d_head, d_model],
                },
                Cut::Permute {
                    dims: vec![0, 2, 1],
                },
            ];
            self.push(&format!("{name}.W_{letter}"), &projection.weight, &per_head);
            if let Some(bias) = &projection.bias {
                let shape = vec![heads, d_head];
                self.push(
                    &format!("{name}.b_{letter}"),
                    bias,
                    &[Cut::Reshape { shape }],
                );
            }
        }
        let shape = vec![attention.n_heads, d_head, d_model];
        let out = [Cut::Transpose, Cut::Reshape { shape }];
        self.push(&format!("{name}.W_O"), &attention.o.weight, &out);
        if let Some(bias) = &attention.o.bias {
            self.push(&format!("{name}.b_O"), bias, &[]);
        }
        if let Some(norms) = &attention.qk_norm {
            self.norm(&format!("{name}.q_norm"), &norms.q.norm);
            self.norm(&format!("{name}.k_norm"), &norms.k.norm);
        }
        if let Some(sinks) = &attention.sinks {
            self.push(&format!("{name}.sinks"), sinks, &[]);
        }
        if let super::PositionSpec::RelativeBias(bias) = &attention.position {
            self.push(&format!("{name}.rel_pos_bias"), &bias.table, &[]);
        }
    }

    fn mlp(&mut self, name: &str, mlp: &MlpSpec) {
        match mlp {
            MlpSpec::Dense(dense) => self.dense(name, dense),
            MlpSpec::Moe(moe) => self.moe(name, moe),
        }
    }

    fn moe(&mut self, name: &str, moe: &MoeSpec) {
        self.linear(
            &format!("{name}.W_gate"),
            &format!("{name}.b_gate"),
            &moe.router,
        );
        if let Some(bias) = &moe.choice_bias {
            self.push(&format!("{name}.choice_bias"), bias, &[]);
        }
        for (index, expert) in moe.experts.iter().enumerate() {
            self.dense(&format!("{name}.experts.{index}"), expert);
        }
        if let Some(shared) = &moe.shared {
            self.dense(&join(name, "shared"), shared);
        }
    }

    fn dense(&mut self, name: &str, dense: &DenseMlp) {
        self.linear(
            &format!("{name}.W_in"),
            &format!("{name}.b_in"),
            &dense.input,
        );
        if let Some(gate) = &dense.gate {
            self.linear(&format!("{name}.W_gate"), &format!("{name}.b_gate"), gate);
        }
        self.linear(
            &format!("{name}.W_out"),
            &format!("{name}.b_out"),
            &dense.output,
        );
    }

    /// A weight as `[in, out]`, and its bias.
    fn linear(&mut self, weight: &str, bias: &str, projection: &ProjectionSpec) {
        self.push(weight, &projection.weight, &[Cut::Transpose]);
        if let Some(source) = &projection.bias {
            self.push(bias, source, &[]);
        }
    }
}
