"""Inputs that are fed through a cache of keys and values: in pieces, or with what was appended to them.

A `step` is a function of inputs, where a piece of them starts and ends, the cache so far, and whether to keep one. It
returns the logits of the piece, and the cache to go on with.
"""

import torch

from .protocol import invalid_input, unsupported
from .stimulus import variant


def in_pieces(step, inputs, lengths):
    """The logits of all positions."""
    total = inputs["input_ids"].shape[1]
    if sum(lengths) != total or min(lengths) < 1:
        raise invalid_input(f"pieces of {list(lengths)} tokens are no way to cut {total}")
    pieces, cache, start = [], None, 0
    for length in lengths:
        end = start + length
        logits, cache = step(inputs, start, end, cache, True)
        pieces.append(logits)
        start = end
    return torch.cat(pieces, 1)


def generated(step, stimulus, context):
    """The tokens that `stimulus` asks for, of a model that was made for so many positions."""
    request = dict(stimulus.generate)
    sampling, _ = variant(request.pop("sampling"))
    if sampling != "greedy":
        raise unsupported(f"tokens that are drawn by {sampling}: this worker appends the likeliest")
    request.setdefault("stop_tokens", [])
    return greedy(step, stimulus.inputs, context, **request)


def greedy(step, inputs, context, max_new_tokens, stop_tokens, use_cache):
    """The tokens that follow, [batch, new]: each the one of the largest logit, of equal ones the first.

    A row that has ended is filled up with the first of `stop_tokens`. No more follow where all have ended, or one that
    has not is as long as `context`.
    """
    if not inputs["attention_mask"][:, -1].all():
        raise unsupported("tokens are appended to rows that end in one, not in padding")
    stops = torch.tensor(stop_tokens, dtype=torch.int64)
    ended = torch.zeros(len(inputs["input_ids"]), dtype=torch.bool)
    tokens, cache, start = [], None, 0
    while len(tokens) < max_new_tokens and not ended.all() and not _is_full(inputs, ended, context):
        end = inputs["input_ids"].shape[1]
        logits, cache = step(inputs, start, end, cache, use_cache)
        start = end if use_cache else 0
        token = logits[:, -1].argmax(-1)
        if ended.any():
            token[ended] = stops[0]
        ended |= torch.isin(token, stops)
        tokens.append(token)
        inputs = _appended(inputs, token, ended)
    return torch.stack(tokens, 1) if tokens else ended.new_zeros((len(ended), 0), dtype=torch.int64)


def _appended(inputs, token, ended):
    """The inputs with one more token; positions go on from each row's last one. Behind its end a row is padded."""
    ids, mask, positions = (inputs[name] for name in ("input_ids", "attention_mask", "position_ids"))
    going = ~ended[:, None]
    return {
        "input_ids": torch.cat([ids, token[:, None]], 1),
        "attention_mask": torch.cat([mask, going.to(mask.dtype)], 1),
        "position_ids": torch.cat([positions, positions[:, -1:] + going], 1),
    }


def _is_full(inputs, ended, context):
    """Whether a row that has not ended is as long as the context."""
    return context is not None and bool((inputs["position_ids"][~ended, -1] + 1 >= context).any())
