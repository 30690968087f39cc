//! Mixtures of gated experts, as most families name and store them.

use super::inner_model::{InnerModel, config_keys};
use super::mlp::{Activation, DenseMlp, MoeSpec, Renormalise, RouterScore, ScoreOrder};
use super::source::{ProjectionSpec, TensorSource};

/// The experts of a layer, and the router that chooses among them.
#[derive(Clone, Copy, Debug)]
pub struct Experts<'a> {
    /// How a checkpoint names their parts.
    pub names: ExpertNames<'a>,
    /// How many there are.
    pub count: usize,
    /// How many serve a token.
    pub top_k: usize,
    /// Width of the stream.
    pub d_model: usize,
    /// Width of an expert's hidden layer.
    pub d_mlp: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// The config keys that router and experts were made from.
    pub config_keys: &'a [&'a str],
}

/// How a checkpoint names the parts of a mixture, within a block. The router is `gate`, and an expert `experts.N`.
#[derive(Clone, Copy, Debug)]
pub struct ExpertNames<'a> {
    /// The whole body; the name that HF writes goes first.
    pub bodies: &'a [&'a str],
    /// The product that goes through the activation.
    pub gate: &'a str,
    /// The other product that reads the stream.
    pub input: &'a str,
    /// The product that writes to the stream.
    pub output: &'a str,
}

impl ExpertNames<'static> {
    /// Those of most families.
    pub const USUAL: Self = Self {
        bodies: &["mlp"],
        gate: "gate_proj",
        input: "up_proj",
        output: "down_proj",
    };
}

impl InnerModel {
    /// A mixture in the block `block`, without biases: the router is `[count, d_model]`, and each expert is gated, with
    /// products `[d_mlp, d_model]` and `[d_model, d_mlp]`. The router's softmax runs over all experts, and the weights of
    /// the chosen ones stay as they are.
    ///
    /// In memory HF keeps all experts in one tensor of its module `mlp`, so that none of them shows anything.
    pub fn experts(self, block: &str, experts: &Experts<'_>) -> MoeSpec {
        let each = |index| self.expert(block, index, experts);
        MoeSpec {
            router: self.unseen(block, "gate", [experts.count, experts.d_model], experts),
            choice_bias: None,
            score: RouterScore::Softmax,
            order: ScoreOrder::BeforeTopK,
            top_k: experts.top_k,
            renormalise: Renormalise::No,
            routed_scale: 1.0,
            experts: (0..experts.count).map(each).collect(),
            shared: None,
            module: Some(self.module(&format!("{block}.mlp"))),
            config_keys: config_keys(experts.config_keys),
        }
    }

    fn expert(self, block: &str, index: usize, experts: &Experts<'_>) -> DenseMlp {
        let (d_model, d_mlp) = (experts.d_model, experts.d_mlp);
        let product = |name: &str, shape| {
            self.unseen(block, &format!("experts.{index}.{name}"), shape, experts)
        };
        DenseMlp {
            d_mlp,
            input: product(experts.names.input, [d_mlp, d_model]),
            gate: Some(product(experts.names.gate, [d_mlp, d_model])),
            output: product(experts.names.output, [d_model, d_mlp]),
            activation: experts.activation,
            module: None,
            post_tap: None,
            config_keys: config_keys(experts.config_keys),
        }
    }

    /// A linear map that HF shows under no module of that name.
    fn unseen(
        self,
        block: &str,
        path: &str,
        shape: [usize; 2],
        experts: &Experts<'_>,
    ) -> ProjectionSpec {
        let stored = |body: &&str| {
            let path = format!("{block}.{body}.{path}.weight");
            self.tensor(&path, shape).names
        };
        let names = experts.names.bodies.iter().flat_map(stored);
        ProjectionSpec {
            weight: TensorSource::new(names, shape),
            bias: None,
            tap: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_are_found_under_every_name_of_their_body_and_seen_nowhere() {
        let experts = Experts {
            names: ExpertNames {
                bodies: &["moe", "mlp"],
                ..ExpertNames::USUAL
            },
            count: 2,
            top_k: 1,
            d_model: 5,
            d_mlp: 7,
            activation: Activation::Silu,
            config_keys: &["num_experts"],
        };
        let mixture = InnerModel("model").experts("layers.3", &experts);
        let second = &mixture.experts[1];
        assert_eq!(mixture.experts.len(), 2);
        let products = [&mixture.router, &second.input, &second.output];
        let shown = products.map(|product| {
            assert_eq!(product.tap, None);
            format!(
                "{} {:?}",
                product.weight.names.join(" | "),
                product.weight.shape
            )
        });
        insta::assert_snapshot!(shown.join("\n"), @r"
        model.layers.3.moe.gate.weight | layers.3.moe.gate.weight | model.layers.3.mlp.gate.weight | layers.3.mlp.gate.weight [2, 5]
        model.layers.3.moe.experts.1.up_proj.weight | layers.3.moe.experts.1.up_proj.weight | model.layers.3.mlp.experts.1.up_proj.weight | layers.3.mlp.experts.1.up_proj.weight [7, 5]
        model.layers.3.moe.experts.1.down_proj.weight | layers.3.moe.experts.1.down_proj.weight | model.layers.3.mlp.experts.1.down_proj.weight | layers.3.mlp.experts.1.down_proj.weight [5, 7]
        ");
    }
}
