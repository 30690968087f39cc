//! Attention by its heads, as nearly all families build it.

use super::attention::{AttentionSpec, Extent, HeadNorm, HeadNorms, Mask, NormOrder};
use super::inner_model::InnerModel;
use super::norm::NormSpec;
use super::position::PositionSpec;
use super::source::ProjectionSpec;
use super::tap::AttentionPort;

/// The heads of attention, and the stream that they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Width of the stream.
    pub d_model: usize,
}

/// Which products of attention have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionBias {
    /// Those that make queries, keys and values.
    pub qkv: bool,
    /// The one that writes to the stream.
    pub o: bool,
}

impl From<bool> for AttentionBias {
    /// All four, or none.
    fn from(all: bool) -> Self {
        Self { qkv: all, o: all }
    }
}

impl Heads {
    /// Heads that share the stream out among them, each with keys of its own.
    pub const fn sharing(d_model: usize, n_heads: usize, d_head: usize) -> Self {
        Self {
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_model,
        }
    }

    /// Width of all queries together.
    pub const fn d_q(self) -> usize {
        self.n_heads * self.d_head
    }

    /// Width of all keys together, and of all values.
    pub const fn d_kv(self) -> usize {
        self.n_kv_heads * self.d_head
    }

    /// Causal attention of the products `[q, k, v, o]`, scaled by the root of a head's width and without positions, in
    /// HF's module `module`. It names no config keys.
    pub fn attention(self, [q, k, v, o]: [ProjectionSpec; 4], module: String) -> AttentionSpec {
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            q,
            k,
            v,
            o,
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::None,
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask: Mask::CAUSAL,
            sinks: None,
            module: Some(module),
            port: AttentionPort::Interface,
            config_keys: Vec::new(),
        }
    }

    /// Norms of queries and keys over `extent`, before the rotation; `norm` makes one of its name and width.
    pub fn norms(self, extent: Extent, norm: impl Fn(&str, usize) -> NormSpec) -> HeadNorms {
        let over = |name, all| {
            let width = match extent {
                Extent::Head => self.d_head,
                Extent::AllHeads => all,
            };
            HeadNorm {
                norm: norm(name, width),
                extent,
            }
        };
        HeadNorms {
            q: over("q_norm", self.d_q()),
            k: over("k_norm", self.d_kv()),
            order: NormOrder::BeforeRotary,
        }
    }
}

impl InnerModel {
    /// [`Heads::attention`] with the names that Llama gave its products.
    pub fn attention(self, path: &str, heads: Heads, bias: AttentionBias) -> AttentionSpec {
        let linear = |name: &str, outputs, inputs, bias| {
            self.linear(&format!("{path}.{name}"), outputs, inputs, bias)
        };
        let products = [
            linear("q_proj", heads.d_q(), heads.d_model, bias.qkv),
            linear("k_proj", heads.d_kv(), heads.d_model, bias.qkv),
            linear("v_proj", heads.d_kv(), heads.d_model, bias.qkv),
            linear("o_proj", heads.d_model, heads.d_q(), bias.o),
        ];
        heads.attention(products, self.module(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads {
        n_heads: 6,
        n_kv_heads: 2,
        d_head: 10,
        d_model: 48,
    };

    #[test]
    fn products_have_the_widths_of_their_heads_and_the_biases_that_were_asked_for() {
        let bias = AttentionBias {
            qkv: true,
            o: false,
        };
        let attention = InnerModel("model").attention("layers.0.self_attn", HEADS, bias);
        let shown = [&attention.q, &attention.k, &attention.v, &attention.o].map(|product| {
            let bias = product.bias.as_ref().map(|bias| &bias.shape);
            let weight = &product.weight;
            format!("{} {:?} {bias:?}", weight.names[0], weight.shape)
        });
        insta::assert_snapshot!(shown.join("\n"), @r"
        model.layers.0.self_attn.q_proj.weight [60, 48] Some([60])
        model.layers.0.self_attn.k_proj.weight [20, 48] Some([20])
        model.layers.0.self_attn.v_proj.weight [20, 48] Some([20])
        model.layers.0.self_attn.o_proj.weight [48, 60] None
        ");
    }

    #[test]
    fn norms_run_over_a_head_or_over_all() {
        let norm = |name: &str, width| InnerModel("model").rms_norm(name, width, 1e-6, &[]);
        let widths = |extent| {
            let norms = HEADS.norms(extent, norm);
            [norms.q, norms.k].map(|each| each.norm.gain.map(|gain| gain.shape))
        };
        assert_eq!(widths(Extent::Head), [Some(vec![10]), Some(vec![10])]);
        assert_eq!(widths(Extent::AllHeads), [Some(vec![60]), Some(vec![20])]);
    }
}
