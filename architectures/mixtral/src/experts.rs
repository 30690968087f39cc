//! Routers and experts, by their names on disk.

use tlbench_sdk::spec::{
    DenseMlp, MoeSpec, ProjectionSpec, RouterScore, ScoreOrder, TensorSource, config_keys,
};

use crate::adapter::MODEL;
use crate::hyper::{Family, Hyper};

/// How a checkpoint names the parts of an expert.
struct Names {
    /// Of the whole body, in a layer; the one that HF writes goes first.
    bodies: &'static [&'static str],
    gate: &'static str,
    input: &'static str,
    output: &'static str,
}

const MIXTRAL: Names = Names {
    bodies: &["block_sparse_moe", "mlp"],
    gate: "w1",
    input: "w3",
    output: "w2",
};

const OTHERS: Names = Names {
    bodies: &["mlp"],
    gate: "gate_proj",
    input: "up_proj",
    output: "down_proj",
};

impl Hyper {
    /// The mixture of a layer.
    pub(crate) fn experts(&self, layer: &str) -> MoeSpec {
        MoeSpec {
            router: self.unseen(layer, "gate", self.n_experts, self.heads.d_model),
            choice_bias: None,
            score: RouterScore::Softmax,
            order: ScoreOrder::BeforeTopK,
            top_k: self.top_k,
            renormalise: self.renormalise,
            routed_scale: 1.0,
            experts: (0..self.n_experts)
                .map(|index| self.expert(layer, index))
                .collect(),
            shared: None,
            module: Some(MODEL.module(&format!("{layer}.mlp"))),
            config_keys: self.expert_keys(),
        }
    }

    fn expert(&self, layer: &str, index: usize) -> DenseMlp {
        let names = self.names();
        let (width, d_model) = (self.d_expert, self.heads.d_model);
        let part = |name: &str, outputs, inputs| {
            self.unseen(layer, &format!("experts.{index}.{name}"), outputs, inputs)
        };
        DenseMlp {
            d_mlp: width,
            input: part(names.input, width, d_model),
            gate: Some(part(names.gate, width, d_model)),
            output: part(names.output, d_model, width),
            activation: self.activation,
            // HF keeps all experts in one tensor, and has no module for any.
            module: None,
            post_tap: None,
            config_keys: self.expert_keys(),
        }
    }

    /// A linear map that HF shows under no module of that name.
    fn unseen(&self, layer: &str, path: &str, outputs: usize, inputs: usize) -> ProjectionSpec {
        let stored = |body: &&str| {
            let path = format!("{layer}.{body}.{path}.weight");
            MODEL.tensor(&path, [outputs, inputs]).names
        };
        let names = self.names().bodies.iter().flat_map(stored);
        ProjectionSpec {
            weight: TensorSource::new(names, [outputs, inputs]),
            bias: None,
            tap: None,
        }
    }

    fn names(&self) -> &'static Names {
        match self.family {
            Family::Mixtral => &MIXTRAL,
            Family::Olmoe | Family::Qwen3 => &OTHERS,
        }
    }

    fn expert_keys(&self) -> Vec<String> {
        let own: &[&str] = match self.family {
            Family::Mixtral => &["intermediate_size"],
            Family::Olmoe => &["intermediate_size", "norm_topk_prob"],
            Family::Qwen3 => &[
                "moe_intermediate_size",
                "norm_topk_prob",
                "mlp_only_layers",
                "decoder_sparse_step",
            ],
        };
        let shared = [
            "hidden_size",
            "hidden_act",
            "num_local_experts",
            "num_experts_per_tok",
        ];
        config_keys(&[&shared, own].concat())
    }
}
