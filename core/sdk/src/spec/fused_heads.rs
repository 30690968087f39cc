//! Queries, keys and values of one product, head by head.

use std::collections::BTreeMap;

use super::source::{Cut, ProjectionSpec, TensorSource};
use super::tap::{HfTap, TapStep};

/// A product that yields queries, keys and values head by head: `[n_heads, 3, d_head]` (GPT-NeoX, Bloom).
#[derive(Clone, Debug)]
pub struct FusedHeads {
    /// The whole product, `[3 * n_heads * d_head, d_model]`, where HF shows it.
    pub product: ProjectionSpec,
    /// Heads.
    pub n_heads: usize,
    /// Width of each.
    pub d_head: usize,
    /// Width of the stream.
    pub d_model: usize,
}

impl FusedHeads {
    /// Queries (0), keys (1) or values (2). They have no tap of their own: [`FusedHeads::taps`].
    pub fn part(&self, nth: usize) -> ProjectionSpec {
        let bias = self.product.bias.clone();
        ProjectionSpec {
            weight: self.rows(self.product.weight.clone(), nth, &[self.d_model]),
            bias: bias.map(|bias| self.rows(bias, nth, &[])),
            tap: None,
        }
    }

    /// Where HF shows the three, for [`LayerSpec::taps`](super::LayerSpec::taps): the heads come apart before queries, keys
    /// and values do.
    pub fn taps(&self) -> BTreeMap<String, HfTap> {
        let tap = |nth| {
            let sizes = vec![self.n_heads, 3, self.d_head];
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
            .cut(shaped(&[self.n_heads, 3, self.d_head]))
            .cut(Cut::Slice {
                dim: 1,
                start: nth,
                len: 1,
            })
            .cut(shaped(&[self.n_heads * self.d_head]))
    }
}
