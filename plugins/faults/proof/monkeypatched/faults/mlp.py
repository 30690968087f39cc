"""Activations, gates, biases and routers."""

from transformers.activations import ACT2FN

from .fault import At, Fault, after_init, after_load, replaced

POST = At("blocks.0.mlp.hook_post")
# Of a mixture, transformers shows nothing before what it adds to the stream.
MIXED = At("blocks.0.hook_mlp_out")


def _activation(of, attribute, name):
    return after_init(of, lambda mlp: setattr(mlp, attribute, ACT2FN[name]))


def _gate_and_up_swapped(forward, self, x):
    return self.down_proj(self.gate_proj(x) * self.act_fn(self.up_proj(x)))


def _without_bias(model):
    for layer in model.model.layers:
        layer.mlp.c_fc.bias.data.zero_()


def _not_renormalized(forward, self, states):
    logits, _, chosen = forward(self, states)
    probabilities = logits.softmax(-1)
    return logits, probabilities.gather(-1, chosen), chosen


def _without_the_last(forward, self, states):
    logits, weights, chosen = forward(self, states)
    weights = weights.clone()
    weights[..., -1] = 0
    return logits, weights, chosen


FAULTS = [
    Fault("gelu-exact", "the exact GELU instead of its tanh approximation", "gpt2/tiny", "gpt2", POST,
          _activation("GPT2MLP", "act", "gelu")),
    Fault("gelu-tanh", "the tanh approximation instead of the exact GELU", "gpt_neox/parallel", "gpt_neox", POST,
          _activation("GPTNeoXMLP", "act", "gelu_new")),
    Fault("silu-for-gelu", "SiLU instead of GELU", "gemma/gemma", "gemma", POST,
          _activation("GemmaMLP", "act_fn", "silu")),
    Fault("gate-and-up-swapped", "the activation is of the wrong projection", "llama/tiny", "llama", POST,
          replaced("LlamaMLP.forward", _gate_and_up_swapped)),
    Fault("mlp-bias-dropped", "the first projection has no bias", "starcoder2/windowed", "starcoder2",
          At("blocks.0.mlp.hook_pre"), after_load("Starcoder2ForCausalLM", _without_bias)),
    Fault("router-not-renormalized", "the weights of the chosen experts do not add up to 1", "mixtral/mixtral", "mixtral",
          MIXED, replaced("MixtralTopKRouter.forward", _not_renormalized)),
    Fault("router-renormalized", "the weights of the chosen experts add up to 1", "mixtral/olmoe", "olmoe",
          MIXED,
          after_init("OlmoeTopKRouter", lambda router: setattr(router, "norm_topk_prob", True))),
    Fault("top-k-less-one", "the last of the chosen experts is left out", "mixtral/qwen3_moe", "qwen3_moe",
          MIXED, replaced("Qwen3MoeTopKRouter.forward", _without_the_last)),
]
