"""HookedTransformer, built from its config with weights of ours."""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache
from transformer_lens.weight_processing import ProcessWeights

from .exact import steps, without_single
from .flags import switched
from .protocol import internal, unsupported


def load(checkpoint, processing, dtype, edits):
    """The model; `edits` are of the checkpoint's tensors, before they are processed."""
    state = stored = checkpoint.canonical(edits)
    if processing:
        with without_single():
            config = _config(checkpoint.architecture, torch.float64)
            state = ProcessWeights.process_weights(state, config, **steps(processing))
    config = _config(checkpoint.architecture, dtype)
    if "fold_ln" in processing:
        # The class of the norms is chosen when the model is built.
        config.normalization_type = "LNPre"
    model = HookedTransformer(config, move_to_device=False)
    loaded = model.load_state_dict({name: weight.to(dtype) for name, weight in state.items()}, strict=False)
    parameters = {name for name, _ in model.named_parameters()}
    if missing := sorted(parameters & set(loaded.missing_keys)):
        raise internal(f"HookedTransformer was given no `{missing[0]}`")
    folded = {name: _neutral(name, weight.to(dtype)) for name, weight in stored.items() if name not in parameters}
    return Hooked(model.eval(), folded)


class Hooked:
    """What differs from the bridge."""

    # Hooks that fire three times: each of queries, keys and values normalises for itself.
    repeated = (".ln1.hook_scale", ".ln1.hook_normalized")

    def __init__(self, model, folded):
        self.model = model
        self._folded = folded

    def flags(self, flags):
        return switched(self.model, flags)

    def names(self, hooks):
        """Of all that can fire."""
        return list(self.model.hook_dict)

    def point(self, name):
        return self.model.hook_dict.get(name)

    def forward(self, inputs):
        _check_positions(inputs)
        return self.model(inputs["input_ids"], attention_mask=inputs.get("attention_mask"))

    def step(self, inputs, start, end, cache, use_cache):
        """Logits from `start` to `end`, and the cache."""
        _check_positions(inputs)
        ids, mask = inputs["input_ids"][:, start:end], inputs["attention_mask"][:, start:end]
        if use_cache and cache is None:
            cache = TransformerLensKeyValueCache.init_cache(self.model.cfg, "cpu", ids.shape[0])
        return self.model(ids, attention_mask=mask, past_kv_cache=cache), cache

    def shown(self, name, value):
        return value

    def taken(self, name, value):
        return value

    def weights(self):
        """With those that processing has folded into others, as the numbers that change nothing."""
        return {**self._folded, **dict(self.model.named_parameters())}

    def gradients(self):
        """By canonical name: which parameter it is, and its gradient."""
        return {name: (name, each.grad) for name, each in self.model.named_parameters() if each.grad is not None}


def _neutral(name, weight):
    return torch.ones_like(weight) if name.endswith(".w") else torch.zeros_like(weight)


def _check_positions(inputs):
    if "position_ids" not in inputs:
        return
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    counted = (mask.cumsum(-1) - 1).clamp(min=0)
    if not torch.equal(counted * mask, inputs["position_ids"] * mask):
        raise unsupported("HookedTransformer counts the tokens of a row, and is given no other positions")


def _config(architecture, dtype):
    return HookedTransformerConfig(
        **architecture,
        normalization_type="LN",
        dtype=dtype,
        device="cpu",
        init_weights=False,
        seed=None,
        default_prepend_bos=False,
    )
