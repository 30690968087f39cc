"""Seeing, and changing, what a mixture of experts chooses, and what it chooses by."""

import functools

import torch
from torch.overrides import TorchFunctionMode

from .scoped import while_running

SCORES, CHOICE = "router_scores", "router_choice"
PORTS = (SCORES, CHOICE)

_TOPK = (torch.topk, torch.Tensor.topk)


def watching(watchers):
    """Shows the one choice that each of these modules makes, in whichever of its parts, while it runs.

    A watcher takes a port and the value there, and says whether the model has to go on with that.
    """
    return while_running({module: functools.partial(_Choices, show) for module, show in watchers.items()})


class _Choices(TorchFunctionMode):
    """Shows the input of `topk`, and the places that it returns."""

    def __init__(self, show, call):
        super().__init__()
        self._show = show
        # A module that makes one row of each token has been given them apart.
        self._batch_and_positions = call[0].shape[:-1]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _TOPK:
            return self._choose(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _choose(self, func, scores, *args, **kwargs):
        if scores.requires_grad:
            # A softmax is differentiated by what it returned, which must not be written to.
            scores = scores.clone()
        # The model goes on with what is shown, so that it has a gradient.
        apart = scores.view(*self._batch_and_positions, scores.shape[-1])
        self._show(SCORES, apart)
        values, places = func(apart.view(scores.shape), *args, **kwargs)
        # Shown as other values are; what is written there chooses, with the weight of the place.
        shown = places.to(scores.dtype).view(*self._batch_and_positions, places.shape[-1])
        if self._show(CHOICE, shown):
            places = shown.view(places.shape).to(places.dtype)
        return values, places
