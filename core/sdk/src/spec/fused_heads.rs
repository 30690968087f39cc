//! Queries, keys and values of one product, head by head.

use std::collections::BTreeMap;

use super::attention::AttentionSpec;
use super::heads::Heads;
use super::inner_model::InnerModel;
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

impl InnerModel {
    /// Attention with the names that GPT-NeoX gave its products: [`FusedHeads`] of `query_key_value`, and `dense
    /// [d_model, n_heads * d_head]`. The second is [`FusedHeads::taps`], which the layer needs as well.
    pub fn fused_attention(
        self,
        path: &str,
        heads: Heads,
        bias: bool,
    ) -> (AttentionSpec, BTreeMap<String, HfTap>) {
        let linear = |name: &str, outputs, inputs| {
            self.linear(&format!("{path}.{name}"), outputs, inputs, bias)
        };
        let fused = FusedHeads {
            product: linear("query_key_value", 3 * heads.d_q(), heads.d_model),
            heads,
        };
        let out = linear("dense", heads.d_model, heads.d_q());
        (fused.attention(out, self.module(path)), fused.taps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_of_fused_heads_takes_two_products_and_is_seen_where_they_come_apart() {
        let heads = Heads::sharing(48, 6, 8);
        let (attention, taps) = InnerModel("model").fused_attention("attention", heads, false);
        let shown = [&attention.q, &attention.k, &attention.v, &attention.o].map(|product| {
            let weight = &product.weight;
            format!("{} {:?}", weight.names[0], weight.cut_shape().unwrap())
        });
        insta::assert_snapshot!(shown.join("\n"), @r"
        model.attention.query_key_value.weight [48, 48]
        model.attention.query_key_value.weight [48, 48]
        model.attention.query_key_value.weight [48, 48]
        model.attention.dense.weight [48, 48]
        ");
        let hooks: Vec<&str> = taps.keys().map(String::as_str).collect();
        assert_eq!(hooks, ["attn.hook_k", "attn.hook_q", "attn.hook_v"]);
    }
}
