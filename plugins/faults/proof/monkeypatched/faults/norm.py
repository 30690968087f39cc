"""Norms."""

import torch

from .fault import At, Fault, Refused, after_init, replaced


def _other_eps(norm):
    norm.variance_epsilon = 1e-5


def _smaller_eps(block):
    block.ln_1.eps = 1e-6


def _gain_without_one(forward, self, states):
    return self._norm(states) * self.weight


def _in_bf16(forward, self, states):
    return forward(self, states.to(torch.bfloat16).to(states.dtype))


def _around_the_mean(forward, self, states):
    return forward(self, states - states.mean(-1, keepdim=True))


FAULTS = [
    Fault("layer-norm-eps", "eps 1e-6 instead of 1e-5", "gpt2/tiny", "gpt2", At("blocks.0.ln1.hook_scale"),
          after_init("GPT2Block", _smaller_eps)),
    Fault("rms-norm-eps", "eps 1e-5 instead of 2e-6", "llama/tiny", "llama", At("blocks.0.ln1.hook_scale"),
          after_init("LlamaRMSNorm", _other_eps)),
    Fault("gain-without-one", "the gain is the weight, not 1 + weight", "gemma/gemma", "gemma", At("blocks.0.attn.hook_q"),
          replaced("GemmaRMSNorm.forward", _gain_without_one)),
    Fault("rms-norm-centred", "an RMS norm that takes the mean out", "llama/mistral", "mistral",
          At("blocks.0.ln1.hook_scale"), replaced("MistralRMSNorm.forward", _around_the_mean)),
    Fault("norm-in-bf16", "a norm that rounds its input to bf16", "llama/tiny", "llama",
          Refused("computes neither a layer norm nor an RMS norm"),
          replaced("LlamaRMSNorm.forward", _in_bf16)),
]
