"""Rotations of queries and keys."""

import torch

from .fault import At, Fault, before_init, replaced

QUERIES = At("blocks.0.attn.hook_rot_q")


def _neighbours(apply, query, key, cos, sin, **kwargs):
    """Dimension 2i turned with 2i + 1, by the angles that belong to i and i + half."""
    cos, sin = (table.chunk(2, -1)[0].repeat_interleave(2, -1).unsqueeze(1) for table in (cos, sin))

    def turned(states):
        even, odd = states[..., 0::2], states[..., 1::2]
        return states * cos + torch.stack((-odd, even), -1).flatten(-2) * sin

    return turned(query), turned(key)


def _parameters(**values):
    return lambda config: config.rope_parameters.update(values)


def _unscaled(config):
    config.rope_parameters["rope_type"] = "default"


def _global_as_local(config):
    config.rope_parameters["full_attention"] = dict(config.rope_parameters["sliding_attention"])


def _one_further(forward, self, x, position_ids):
    return forward(self, x, position_ids + 1)


def _in_reverse(apply, query, key, cos, sin, **kwargs):
    return apply(query, key, cos, -sin, **kwargs)


FAULTS = [
    Fault("rotary-pairs", "neighbours are turned instead of halves", "llama/tiny", "llama", QUERIES,
          replaced("apply_rotary_pos_emb", _neighbours)),
    Fault("rotary-direction", "queries and keys are turned the other way", "llama/tiny", "llama", QUERIES,
          replaced("apply_rotary_pos_emb", _in_reverse)),
    Fault("partial-rotary-ignored", "the whole head is turned instead of a quarter", "gpt_neox/parallel", "gpt_neox",
          QUERIES, before_init("GPTNeoXForCausalLM", _parameters(partial_rotary_factor=1.0))),
    Fault("theta", "rope_theta is 10000 instead of 300", "llama/mistral", "mistral", QUERIES,
          before_init("MistralForCausalLM", _parameters(rope_theta=10000.0))),
    Fault("llama3-scaling-ignored", "rope_type llama3 as default", "llama/tiny", "llama", QUERIES,
          before_init("LlamaForCausalLM", _unscaled)),
    Fault("linear-scaling-ignored", "rope_type linear as default", "llama/linear", "llama", QUERIES,
          before_init("LlamaForCausalLM", _unscaled)),
    Fault("yarn-attention-factor", "the table of yarn without its attention factor", "llama/yarn", "llama", QUERIES,
          before_init("LlamaForCausalLM", _parameters(attention_factor=1.0))),
    Fault("rotary-of-local-layers", "global layers are turned like local ones", "gemma/gemma3", "gemma3",
          At("blocks.2.attn.hook_rot_q"), before_init("Gemma3ForCausalLM", _global_as_local)),
    Fault("rotary-positions-from-1", "positions start at 1, which no logit shows", "llama/tiny", "llama", QUERIES,
          replaced("LlamaRotaryEmbedding.forward", _one_further)),
]
