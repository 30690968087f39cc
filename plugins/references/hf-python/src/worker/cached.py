"""Runs that keep keys and values from one step to the next, in the cache that transformers makes by itself."""

import torch

from .asking import Asking
from .protocol import invalid_input, unsupported
from .stimulus import DERIVED, GENERATED, variant


class Chunked(Asking):
    """Logits of an input that is fed in pieces. Nothing is tapped, so there is nothing to check."""

    @torch.no_grad()
    def _run(self, saw, hooks):
        with self._refusing_inputs():
            logits = in_pieces(self._model, self._stimulus.inputs, self._stimulus.chunks)
        for name in DERIVED:
            saw(name, self._stimulus.derive(name, logits))
        return logits


class Generating(Asking):
    """Tokens, which are right or wrong and have no rounding."""

    @torch.no_grad()
    def _run(self, saw, hooks):
        request = dict(self._stimulus.generate)
        sampling, _ = variant(request.pop("sampling"))
        if sampling != "greedy":
            raise unsupported(f"`{self._stimulus.id}` asks for tokens by {sampling}; this worker appends the likeliest")
        request.setdefault("stop_tokens", [])
        with self._refusing_inputs():
            self._truth[GENERATED] = greedy(self._model, self._stimulus.inputs, **request)

    def measure_rounding(self):
        pass

    def rounded(self):
        return {GENERATED: self._truth[GENERATED].contiguous()}


def in_pieces(model, inputs, lengths):
    """The logits of all positions, of inputs that are fed in pieces."""
    total = inputs["input_ids"].shape[1]
    if sum(lengths) != total or min(lengths) < 1:
        raise invalid_input(f"pieces of {list(lengths)} tokens are no way to cut {total}")
    pieces, cache, start = [], None, 0
    for length in lengths:
        end = start + length
        logits, cache = _step(model, inputs, start, end, cache, use_cache=True)
        pieces.append(logits)
        start = end
    return torch.cat(pieces, 1)


def greedy(model, inputs, max_new_tokens, stop_tokens, use_cache):
    """The tokens that follow, [batch, new]: each the one of the largest logit, of equal ones the first.

    A row that has ended is filled up with the first of `stop_tokens`. No more follow where all have ended, or one that
    has not is as long as the context that the model was made for.
    """
    if not inputs["attention_mask"][:, -1].all():
        raise unsupported("tokens are appended to rows that end in one, not in padding")
    stops = torch.tensor(stop_tokens, dtype=torch.int64)
    ended = torch.zeros(len(inputs["input_ids"]), dtype=torch.bool)
    generated, cache, start = [], None, 0
    while len(generated) < max_new_tokens and not ended.all() and not _is_full(model, inputs, ended):
        end = inputs["input_ids"].shape[1]
        logits, cache = _step(model, inputs, start, end, cache, use_cache)
        start = end if use_cache else 0
        token = logits[:, -1].argmax(-1)
        if ended.any():
            token[ended] = stops[0]
        ended |= torch.isin(token, stops)
        generated.append(token)
        inputs = _appended(inputs, token, ended)
    return torch.stack(generated, 1) if generated else ended.new_zeros((len(ended), 0), dtype=torch.int64)


def _step(model, inputs, start, end, cache, use_cache):
    """The logits from `start` to `end`, and the cache to go on with."""
    output = model(
        input_ids=inputs["input_ids"][:, start:end],
        attention_mask=inputs["attention_mask"][:, :end],
        position_ids=inputs["position_ids"][:, start:end],
        past_key_values=cache,
        use_cache=use_cache,
    )
    return output.logits, output.past_key_values if use_cache else None


def _appended(inputs, token, ended):
    """The inputs with one more token; positions go on from each row's last one, and stay where a row has ended."""
    ids, mask, positions = (inputs[name] for name in ("input_ids", "attention_mask", "position_ids"))
    return {
        "input_ids": torch.cat([ids, token[:, None]], 1),
        "attention_mask": torch.cat([mask, torch.ones_like(mask[:, :1])], 1),
        "position_ids": torch.cat([positions, positions[:, -1:] + ~ended[:, None]], 1),
    }


def _is_full(model, inputs, ended):
    """Whether a row that has not ended is as long as the context that the model was made for."""
    context = getattr(model.config, "max_position_embeddings", None)
    return context is not None and bool((inputs["position_ids"][~ended, -1] + 1 >= context).any())
