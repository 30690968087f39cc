"""Seeing, and changing, what an attention module computes by itself: its softmax, and the products around it."""

import functools

import torch
from torch.overrides import TorchFunctionMode

from .attention import show_scores
from .scoped import while_running

_SOFTMAX = (torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax)
_PRODUCT = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm)


def watching(watchers):
    """Shows what passes through these attention modules while they run."""
    return while_running({module: functools.partial(_Operations, show) for module, show in watchers.items()})


class _Operations(TorchFunctionMode):
    """Shows the softmax's input and output, and what the first product after it yields."""

    def __init__(self, show, _):
        super().__init__()
        self._show = show
        # [batch, heads] of a pattern whose product is still to come.
        self._mixing = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            return self._softmax(func, *args, **kwargs)
        if func in _PRODUCT and self._mixing is not None:
            return self._mix(func(*args, **kwargs))
        return func(*args, **kwargs)

    def _softmax(self, func, scores, *args, **kwargs):
        # Masks are added, so that the smallest number is about what a hidden key's score is.
        scores = show_scores(self._show, scores, scores <= torch.finfo(scores.dtype).min / 2)
        # Computed in f32, and rounded to what the model computes in.
        pattern = func(scores, *args, **kwargs).to(scores.dtype)
        if pattern.requires_grad:
            # A softmax is differentiated by what it returned, which must not be written to.
            pattern = pattern.clone()
        self._show("pattern", pattern)
        self._mixing = pattern.shape[:2]
        return pattern

    def _mix(self, mixed):
        """Shows [batch, pos, heads, d_head], and goes on with that, so that it has a gradient."""
        batch_and_heads, self._mixing = self._mixing, None
        apart = mixed.unflatten(0, batch_and_heads) if mixed.dim() == 3 else mixed
        turned = apart.transpose(1, 2)
        self._show("mixed", turned)
        return turned.transpose(1, 2).reshape(mixed.shape)
