"""Runs that keep keys and values from one step to the next, in the cache that transformers makes by itself."""

import torch

from .asking import Asking
from .feeding import generated, in_pieces
from .stimulus import DERIVED, GENERATED


class Chunked(Asking):
    """Logits of an input that is fed in pieces. Nothing is tapped, so there is nothing to check."""

    @torch.no_grad()
    def _run(self, saw, hooks):
        with self._refusing_inputs():
            logits = in_pieces(_step(self._model), self._stimulus.inputs, self._stimulus.chunks)
        for name in DERIVED:
            saw(name, self._stimulus.derive(name, logits))
        return logits


class Generating(Asking):
    """Tokens, which are right or wrong and have no rounding."""

    @torch.no_grad()
    def _run(self, saw, hooks):
        with self._refusing_inputs():
            self._truth[GENERATED] = generated(_step(self._model), self._stimulus, _context(self._model.config))

    def measure_rounding(self):
        pass

    def rounded(self):
        return {GENERATED: self._truth[GENERATED].contiguous()}


def _context(config):
    """How long a row can get; None: as long as it likes, since dynamic scaling is there to go beyond the trained context."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if rope.get("rope_type", rope.get("type")) == "dynamic":
        return None
    return getattr(config, "max_position_embeddings", None)


def _step(model):
    def step(inputs, start, end, cache, use_cache):
        output = model(
            input_ids=inputs["input_ids"][:, start:end],
            attention_mask=inputs["attention_mask"][:, :end],
            position_ids=inputs["position_ids"][:, start:end],
            past_key_values=cache,
            use_cache=use_cache,
        )
        return output.logits, output.past_key_values if use_cache else None

    return step
