//! Queries, keys and values of one product, head by head.

use std::collections::BTreeMap;

use super::attention::AttentionSpec;
use super::heads::Heads;
use super::source::{Cut, ProjectionSpec, TensorSource};
use super::tap::{HfTap, TapStep};

/// A product that yields queries, keys and values head by head: `[n_heads, 3, d_head]` (GPT-NeoX, Bloom).
#[derive(Clone, Debug)]
pub struct FusedHeads {
    /// The whole product, `[3 * n_heads * d_head, d_model]`, where HF shows it.
    pub product: ProjectionSpec,
    /// The heads, each with keys of its own.
    pub heads: Heads,
}

impl FusedHeads {
    /// [`Heads::attention`] of the three, and of `o`. The layer needs [`FusedHeads::taps`] as well.
    pub fn attention(&self, o: ProjectionSpec, module: String) -> AttentionSpec {
        let products = [self.part(0), self.part(1), self.part(2), o];
        self.heads.attention(products, module)
    }

    /// Queries (0), keys (1) or values (2). They have no tap of their own: [`FusedHeads::taps`].
    pub fn part(&self, nth: usize) -> ProjectionSpec {
        let bias = self.product.bias.clone();
        ProjectionSpec {
            weight: self.rows(self.product.weight.clone(), nth, &[self.heads.d_model]),
            bias: bias.map(|bias| self.rows(bias, nth, &[])),
            tap: None,
        }
    }

    /// Where HF shows the three, for [`LayerSpec::taps`](super::LayerSpec::taps): the heads come apart before queries, keys
    /// and values do.
    pub fn taps(&self) -> BTreeMap<String, HfTap> {
        let tap = |nth| {
            let sizes = vec![self.heads.n_heads, 3, self.heads.d_head];
            let whole = self.product.tap.clone()?.step(TapStep::Split { sizes });
            Some(whole.step(TapStep::Select {
                dim: -2,
                index: nth,
            }))
        };
        [("attn.hook_q", 0), ("attn.hook_k", 1), ("attn.hook_v", 2)]
            .into_iter()
            .filter_map(|(hook, nth)| Some((hook.to_owned(), tap(nth)?)))
            .collect()
    }

    /// Of `whole [3 * n_heads * d_head, ..inputs]`, the rows of one of the three.
    fn rows(&self, whole: TensorSource, nth: usize, inputs: &[usize]) -> TensorSource {
        let shaped = |outputs: &[usize]| Cut::Reshape {
            shape: [outputs, inputs].concat(),
        };
        whole
            .cut(shaped(&[self.heads.n_heads, 3, self.heads.d_head]))
            .cut(Cut::Slice {
                dim: 1,
                start: nth,
                len: 1,
            })
            .cut(shaped(&[self.heads.d_q()]))
    }
}
