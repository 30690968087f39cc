"""TransformerBridge, which reads the checkpoint's folder by itself."""

import os

import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from .exact import steps, without_single
from .flags import switched


def load(checkpoint, processing, dtype, edits):
    """The model; `edits` are of the checkpoint's tensors, before they are processed."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = None if _has_tokenizer(checkpoint.folder) else _stand_in()
    booted = TransformerBridge.boot_transformers(checkpoint.folder, device="cpu", dtype=dtype, tokenizer=tokenizer)
    _compute_experts_one_by_one(booted.original_model)
    model = Bridge(booted.eval())
    if edits:
        model.take(checkpoint.canonical(), checkpoint.canonical(edits))
    if processing:
        with without_single():
            model.model.enable_compatibility_mode(disable_warnings=True, **steps(processing))
    return model


def _has_tokenizer(folder):
    return any(name.startswith(("tokenizer", "vocab")) for name in os.listdir(folder))


def _stand_in():
    """The bridge does not open without a tokenizer, and questions are of token ids. Without a BOS it is left as it is."""
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="x", pad_token="x", unk_token="x")


def _compute_experts_one_by_one(model):
    """Grouped products, which transformers chooses by itself, take widths of whole 16 bytes alone, and no f64."""
    if getattr(type(model), "_can_set_experts_implementation", bool)():
        model.set_experts_implementation("eager")


class Bridge:
    """What differs from HookedTransformer."""

    repeated = ()

    def __init__(self, model):
        self.model = model

    def take(self, before, after):
        """Overwrites the weights that an edit of the checkpoint changes."""
        weights = self.weights()
        with torch.no_grad():
            for name in weights.keys() & after.keys():
                if not torch.equal(before[name], after[name]):
                    weights[name].copy_(after[name])

    def flags(self, flags):
        return switched(self.model, flags)

    def names(self, hooks):
        """Of those that can fire and that HookedTransformer has; others are the bridge's own."""
        return [name for name in hooks if self.point(name) is not None]

    def point(self, name):
        return self.model.hook_dict.get(name)

    def forward(self, inputs):
        given = {name: inputs.get(name) for name in ("attention_mask", "position_ids")}
        return self.model(inputs["input_ids"], **given)

    def step(self, inputs, start, end, cache, use_cache):
        """Logits from `start` to `end`, and the cache."""
        if not use_cache:
            return self.forward(inputs)[:, start:end], None
        return self.model(
            inputs["input_ids"][:, start:end],
            attention_mask=inputs["attention_mask"][:, :end],
            position_ids=inputs["position_ids"][:, start:end],
            past_key_values=cache,
            return_type="logits_and_cache",
            use_cache=True,
        )

    def shown(self, name, value):
        """-inf where the smallest number stands for it."""
        if not name.endswith("hook_attn_scores"):
            return value
        return value.masked_fill(value <= torch.finfo(value.dtype).min / 2, -torch.inf)

    def taken(self, name, value):
        if not name.endswith("hook_attn_scores"):
            return value
        return value.masked_fill(value == -torch.inf, torch.finfo(value.dtype).min)

    def weights(self):
        return self.model.tl_parameters()

    def gradients(self):
        """By canonical name: where the parameter is, and its gradient.

        Canonical weights are the parameters in another order, and their gradients those of the parameters in the same.
        """
        parameters = list(self.model.parameters())
        values = [each.data for each in parameters]
        places = {name: weight.data_ptr() for name, weight in self.model.tl_parameters().items()}
        try:
            for each in parameters:
                each.data = torch.zeros_like(each.data) if each.grad is None else each.grad.detach().clone()
            found = self.model.tl_parameters()
            return {name: (places[name], weight.detach().clone()) for name, weight in found.items()}
        finally:
            for each, value in zip(parameters, values):
                each.data = value
