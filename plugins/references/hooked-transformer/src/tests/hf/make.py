"""Writes answers.json: what HuggingFace's own models make of two short rows, in f64.

    python make.py

One small model per feature. Its weights are noise, seeded by the name on disk, so that the tests make the same ones without
a file; `models.rs` says the same models as specs, by hand.
"""

import json
import math
import pathlib
import re
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3] / "python-worker" / "src"))
from worker.noise import noise  # noqa: E402
from worker.precision import real_double  # noqa: E402

ROWS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5]]

WIDTHS = {
    "vocab_size": 11,
    "hidden_size": 16,
    "intermediate_size": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": False,
}
ROPE = {"rope_type": "default", "rope_theta": 100.0}
LLAMA = {"head_dim": 6, "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-5, "rope_parameters": ROPE}
# One rotated channel pair would show no series.
WIDE = {"num_attention_heads": 2, "num_key_value_heads": 1}
MOE = {"rope_parameters": ROPE, "num_experts_per_tok": 2}


def scaled(kind, **parameters):
    return {**LLAMA, "rope_parameters": {**ROPE, "rope_type": kind, **parameters}}


# By feature: HF's `model_type`, and its config.
MODELS = {
    "rotary": ("llama", LLAMA),
    "linear": ("llama", scaled("linear", factor=4.0)),
    "dynamic": ("llama", {**scaled("dynamic", factor=3.0), "max_position_embeddings": 4}),
    "yarn": ("llama", scaled("yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=2.0, beta_slow=0.5)),
    "yarn_not_truncated": ("llama", scaled(
        "yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=2.0, beta_slow=0.5, truncate=False,
        attention_factor=1.25,
    )),
    "llama3": ("llama", scaled(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=2.0, original_max_position_embeddings=32,
    )),
    "longrope": ("llama", scaled(
        "longrope", short_factor=[1.0, 1.1, 1.2], long_factor=[1.5, 2.0, 4.0], factor=4.0,
        original_max_position_embeddings=4,
    )),
    "longrope_short": ("llama", scaled(
        "longrope", short_factor=[1.0, 1.1, 1.2], long_factor=[1.5, 2.0, 4.0], factor=4.0,
        original_max_position_embeddings=8,
    )),
    "window": ("mistral", {**LLAMA, "sliding_window": 3}),
    "head_norms": ("qwen3", LLAMA),
    "all_heads_norms": ("olmo2", {"rope_parameters": ROPE, "rms_norm_eps": 1e-5}),
    "norms_after_rotation": ("hunyuan_v1_dense", {**LLAMA, "attention_bias": False, "mlp_bias": False}),
    "clip": ("olmo", {"rope_parameters": ROPE, "clip_qkv": 0.85}),
    "partial_rotary": ("phi", {**WIDE, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}}),
    "fused_heads": ("gpt_neox", {
        **WIDE, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}, "rotary_pct": 0.5,
        "use_parallel_residual": True,
    }),
    "interleaved": ("cohere", {"rope_parameters": ROPE, "logit_scale": 0.4, "tie_word_embeddings": True}),
    "sandwich_and_caps": ("gemma2", {
        "head_dim": 6, "query_pre_attn_scalar": 9, "sliding_window": 3, "attn_logit_softcapping": 0.7,
        "final_logit_softcapping": 1.5, "tie_word_embeddings": True, "rope_parameters": ROPE,
        "layer_types": ["sliding_attention", "full_attention"],
    }),
    "alibi": ("bloom", {"tie_word_embeddings": True}),
    "alibi_of_five_heads": ("bloom", {"hidden_size": 20, "num_attention_heads": 5, "tie_word_embeddings": True}),
    "post_norm_residual": ("bloom", {
        "tie_word_embeddings": True, "apply_residual_connection_post_layernorm": True,
    }),
    "positions_and_quick_gelu": ("gpt2", {
        "n_embd": 16, "n_positions": 16, "n_inner": 10, "tie_word_embeddings": True,
        "activation_function": "quick_gelu",
    }),
    "offset_positions_and_relu": ("opt", {"ffn_dim": 10, "word_embed_proj_dim": 16, "tie_word_embeddings": True}),
    "norms_of_sums": ("opt", {
        "ffn_dim": 10, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "tie_word_embeddings": True,
    }),
    "offset_layer_norm_and_relu_squared": ("nemotron", {
        **WIDE, "head_dim": 8, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}, "partial_rotary_factor": 0.5,
    }),
    "multipliers": ("granite", {
        "rope_parameters": ROPE, "embedding_multiplier": 3.0, "residual_multiplier": 0.3, "attention_multiplier": 0.7,
        "logits_scaling": 2.5,
    }),
    "renormalised_experts": ("mixtral", {**MOE, "num_local_experts": 4, "sliding_window": None}),
    "experts_as_they_are": ("olmoe", {**MOE, "num_experts": 4, "norm_topk_prob": False, "clip_qkv": 0.85}),
    "scored_after_the_choice": ("granitemoe", {**MOE, "num_local_experts": 4}),
    "sigmoid_bias_and_shared": ("glm4_moe", {
        **MOE, "head_dim": 6, "n_routed_experts": 4, "n_shared_experts": 1, "moe_intermediate_size": 10,
        "first_k_dense_replace": 0, "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.7,
        "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0}, "partial_rotary_factor": 1.0,
    }),
}

# Those whose positions depend on the length, once more through the cache.
PIECES = {"rotary": [3, 4], "dynamic": [3, 4], "longrope": [3, 4], "window": [3, 4], "alibi": [3, 4]}


def seed(name):
    """The same number as the tests make of a name."""
    value = 0
    for byte in name.encode():
        value = (value * 31 + byte) % 2**32
    return value


def model(kind, config):
    """The model with noise as weights, through the files that `save_pretrained` writes."""
    config = transformers.AutoConfig.for_model(kind, **{**WIDTHS, **config})
    with tempfile.TemporaryDirectory() as folder:
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        path = pathlib.Path(folder, "model.safetensors")
        weights = {
            name: as_f32(noise(seed(name), stored.numel()) / 2).view(stored.shape)
            for name, stored in load_file(path).items()
        }
        save_file(weights, path, metadata={"format": "pt"})
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
        ).eval()


def as_f32(values):
    """Rounded where torch is told that f32 is f64."""
    return torch.from_numpy(values.numpy().astype("float32"))


def inputs():
    longest = max(map(len, ROWS))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in ROWS])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ROWS])
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def last_logits(asked, chunks):
    """The logits at the end of each row, which is fed in these pieces."""
    fed = inputs()
    cache, start = None, 0
    for length in chunks:
        end = start + length
        output = asked(
            input_ids=fed["input_ids"][:, start:end],
            attention_mask=fed["attention_mask"][:, :end],
            position_ids=fed["position_ids"][:, start:end],
            past_key_values=cache,
            use_cache=len(chunks) > 1,
        )
        cache, start = output.past_key_values if len(chunks) > 1 else None, end
    return [rounded(row) for row in output.logits[:, -1]]


def rounded(values):
    return [float(f"{value:.15g}") for value in values.tolist()]


def answers():
    """By feature; a fresh model for each question, since `dynamic` keeps state."""
    longest = max(map(len, ROWS))
    for name, (kind, config) in MODELS.items():
        yield name, last_logits(model(kind, config), [longest])
        if name in PIECES:
            yield f"{name} in pieces", last_logits(model(kind, config), PIECES[name])


def rotations():
    """By feature with a rotary module: cosines and sines at the end of the longer row."""
    for name, (kind, config) in MODELS.items():
        asked = model(kind, config)
        rotary = getattr(asked.base_model, "rotary_emb", None)
        if rotary is not None:
            tables = rotary(torch.zeros(1, dtype=torch.float64), inputs()["position_ids"])
            yield name, [rounded(table[0, -1]) for table in tables]


def chunked_mask(size, length):
    """Which keys each query sees, by transformers' own rule for chunks."""
    from transformers.masking_utils import chunked_overlay, causal_mask_function

    in_chunk = chunked_overlay(size, torch.zeros(1, dtype=torch.long))
    sees = lambda query, key: bool(causal_mask_function(0, 0, query, key) and in_chunk(0, 0, query, key))
    return ["".join("x" if sees(query, key) else "." for key in range(length)) for query in range(length)]


def clamped_swiglu():
    """Gate, up and what comes out, by GPT-OSS's own experts."""
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

    class Gate:
        alpha, limit = 1.702, 7.0

    pairs = [(gate, up) for gate in (-9.0, -0.5, 0.75, 7.5) for up in (-8.0, 0.25, 9.0)]
    return [
        [gate, up, GptOssExperts._apply_gate(Gate, torch.tensor([gate, up], dtype=torch.float64)).item()]
        for gate, up in pairs
    ]


def main():
    transformers.logging.set_verbosity_error()
    with torch.no_grad(), real_double():
        made = {
            "logits": dict(answers()),
            "rotations": dict(rotations()),
            "chunked_mask": chunked_mask(3, 7),
            "clamped_swiglu": clamped_swiglu(),
        }
    assert not any(math.isnan(value) for rows in made["logits"].values() for row in rows for value in row)
    lines = json.dumps(made, indent=1)
    # A list of numbers is one line.
    lines = re.sub(r"\[[^\[\]]*\]", lambda found: " ".join(found.group().split()), lines)
    (HERE / "answers.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
