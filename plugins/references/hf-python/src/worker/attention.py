"""An attention function that lets one see, and change, what it computes."""

import contextlib

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from .protocol import internal

NAME = "tlbench_observed"
PORTS = ("query", "key", "value", "scores", "pattern", "mixed")

# By attention module: a function of a port and the value there, which says whether the model has to go on with that.
_watchers = {}


def register():
    """Makes `NAME` an attention implementation of transformers.

    Without a mask function of the same name the mask would be None, and the model silently not causal.
    """
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, eager_mask)


def uses_interface(model):
    """Whether a model, or its class, calls whatever attention is registered; others compute their own."""
    return getattr(model, "_supports_attention_backend", False)


@contextlib.contextmanager
def watching(watchers):
    """Shows what passes through these attention modules."""
    _watchers.update(watchers)
    try:
        yield
    finally:
        for module in watchers:
            del _watchers[module]


def _unwatched(port, value):
    return False


def _attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None, **kwargs):
    """As every eager attention of transformers computes it; `query` is [batch, heads, pos, d_head]."""
    if attention_mask is None:
        raise internal(f"transformers gave {type(module).__name__} no mask, so it would not be causal")
    show = _watchers.get(module, _unwatched)
    query, key, value = (
        _show_heads(show, port, heads) for port, heads in (("query", query), ("key", key), ("value", value))
    )
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.matmul(query, key.transpose(-1, -2)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    mask = attention_mask[..., : key.shape[-2]]
    scores = show_scores(show, scores + mask, mask <= torch.finfo(mask.dtype).min / 2)
    pattern = torch.nn.functional.softmax(scores, dim=-1)
    if pattern.requires_grad:
        # A softmax is differentiated by what it returned, which must not be written to.
        pattern = pattern.clone()
    show("pattern", pattern)
    mixed = torch.matmul(pattern, value).transpose(1, 2).contiguous()
    show("mixed", mixed)
    return mixed, pattern


def _show_heads(show, port, heads):
    """Shows [batch, pos, heads, d_head], and goes on with that, so that it has a gradient."""
    turned = heads.transpose(1, 2)
    show(port, turned)
    return turned.transpose(1, 2)


def show_scores(show, scores, hidden):
    """Shows -inf where the smallest number stands for it, which a row without any key to look at needs."""
    lowest = torch.finfo(scores.dtype).min
    shown = scores.masked_fill(hidden, -torch.inf)
    return shown.masked_fill(shown == -torch.inf, lowest) if show("scores", shown) else scores
