"""Scores, masks, heads and biases of attention."""

import torch

from .fault import At, Fault, Refused, after_init, after_load, before_init, replaced

SCORES = At("blocks.0.attn.hook_attn_scores")


def _config(**values):
    """Other values of config keys."""
    return lambda config: [setattr(config, key, value) for key, value in values.items()]


def _one_more_key(config):
    config.sliding_window += 1


def _window_everywhere(config):
    config.layer_types = ["sliding_attention"] * config.num_hidden_layers


def _next_key_too(create, *args, **kwargs):
    return create(*args, **kwargs, or_mask_function=lambda batch, head, query, key: key <= query + 1)


def _scale_by_layer(attention):
    attention.scaling /= attention.layer_idx + 1


def _tiled(repeat_kv, states, groups):
    return states.repeat(1, groups, 1, 1)


def _tile_everywhere(modeling):
    """In the attention of transformers, and where the recorder shows what that computes."""
    replaced("repeat_kv", _tiled)(modeling)
    repeat_interleave = torch.Tensor.repeat_interleave

    def tile(states, count, dim=None, **kwargs):
        if dim != 1:
            return repeat_interleave(states, count, dim, **kwargs)
        return states.repeat(1, count, *(1 for _ in states.shape[2:]))

    torch.Tensor.repeat_interleave = tile


def _power_of_two_slopes(slopes, heads, device):
    return torch.tensor([2.0 ** (-8 * (head + 1) / heads) for head in range(heads)], device=device)


def _without_query_and_key_gain(model):
    for layer in model.model.layers:
        layer.self_attn.q_norm.weight.data.fill_(1)
        layer.self_attn.k_norm.weight.data.fill_(1)


def _without_query_and_key_norm(attention):
    attention.q_norm, attention.k_norm = torch.nn.Identity(), torch.nn.Identity()


def _without_output_bias(model):
    for block in model.transformer.h:
        block.attn.c_proj.bias.data.zero_()


def _keys_before_queries(model):
    for block in model.transformer.h:
        for parameter in (block.attn.c_attn.weight, block.attn.c_attn.bias):
            query, key, value = parameter.data.chunk(3, -1)
            parameter.data = torch.cat([key, query, value], -1)


def _fused_by_kind(model):
    """All queries, then all keys, then all values, where the checkpoint has them head by head."""
    for layer in model.gpt_neox.layers:
        attention = layer.attention
        heads = model.config.num_attention_heads
        for parameter in (attention.query_key_value.weight, attention.query_key_value.bias):
            rows = parameter.data.unflatten(0, (3, heads, attention.head_size))
            parameter.data = rows.transpose(0, 1).flatten(0, 2).contiguous()


FAULTS = [
    Fault("scale-missing", "scores are not divided by sqrt(head_dim)", "gpt2/tiny", "gpt2", SCORES,
          after_init("GPT2Attention", lambda attention: setattr(attention, "scaling", 1.0))),
    Fault("scale-by-layer", "scores are divided by the number of the layer too", "gpt2/tiny", "gpt2",
          At("blocks.1.attn.hook_attn_scores"), after_init("GPT2Attention", _scale_by_layer)),
    Fault("scale-of-head-dim", "1/sqrt(head_dim) instead of query_pre_attn_scalar", "gemma/gemma2", "gemma2", SCORES,
          after_init("Gemma2Attention", lambda attention: setattr(attention, "scaling", attention.head_dim**-0.5))),
    Fault("attention-softcap-missing", "scores have no softcap", "gemma/gemma2", "gemma2", SCORES,
          after_init("Gemma2Attention", lambda attention: setattr(attention, "attn_logit_softcapping", None))),
    Fault("causal-mask-off-by-one", "a token sees the next one", "gpt2/tiny", "gpt2", SCORES,
          replaced("create_causal_mask", _next_key_too)),
    Fault("window-one-wider", "a query sees one key more than the window", "llama/mistral", "mistral", SCORES,
          before_init("MistralForCausalLM", _one_more_key)),
    Fault("window-ignored", "all keys are seen", "starcoder2/windowed", "starcoder2", SCORES,
          before_init("Starcoder2ForCausalLM", _config(sliding_window=None))),
    Fault("window-on-every-layer", "a window in layers that have none", "llama/qwen2", "qwen2", SCORES,
          before_init("Qwen2ForCausalLM", _window_everywhere)),
    Fault("key-heads-tiled", "query head i looks at key head i % n instead of i // groups", "llama/tiny", "llama", SCORES,
          _tile_everywhere),
    Fault("key-heads-tiled-in-eager", "the same in the eager attention alone", "llama/tiny", "llama",
          Refused("the taps change the logits"), replaced("repeat_kv", _tiled)),
    Fault("alibi-slopes", "slopes of 5 heads as if 5 were a power of two", "bloom/five_heads", "bloom", SCORES,
          replaced("_get_alibi_slopes", _power_of_two_slopes)),
    Fault("query-norm-without-gain", "queries and keys are normalized, and not multiplied by the gain", "llama/qwen3",
          "qwen3", At("blocks.0.attn.hook_rot_q"), after_load("Qwen3ForCausalLM", _without_query_and_key_gain)),
    Fault("query-norm-missing", "queries and keys are not normalized", "llama/qwen3", "qwen3", Refused("has no epsilon, so it is no norm"),
          after_init("Qwen3Attention", _without_query_and_key_norm)),
    # Queries, keys and values are shown before they are clipped.
    Fault("clip-missing", "clip_qkv is ignored", "mixtral/olmoe", "olmoe",
          At("blocks.0.attn.hook_rot_q"), before_init("OlmoeForCausalLM", _config(clip_qkv=None))),
    Fault("keys-before-queries", "the fused projection is cut in another order", "gpt2/tiny", "gpt2",
          At("blocks.0.attn.hook_q"), after_load("GPT2LMHeadModel", _keys_before_queries)),
    Fault("fused-by-kind", "the fused projection is cut by kind instead of by head", "gpt_neox/parallel", "gpt_neox",
          At("blocks.0.attn.hook_q"), after_load("GPTNeoXForCausalLM", _fused_by_kind)),
    Fault("output-bias-dropped", "the output projection of attention has no bias", "gpt2/tiny", "gpt2",
          At("blocks.0.hook_attn_out"), after_load("GPT2LMHeadModel", _without_output_bias)),
]
