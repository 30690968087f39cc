"""Sizes and differences, over the entries that can be compared."""

import math

import torch

from .protocol import internal, invalid_input


def rms(value):
    """Of no entries: 0."""
    return math.sqrt(value.double().square().mean().item()) if value.numel() else 0.0


def size(name, truth):
    """The rms of the truth; masked entries are left out."""
    return _finite(name, rms(truth[truth != -torch.inf]))


def difference(name, value, truth):
    """The rms of an error; both have to mask the same entries, which are left out."""
    masked = truth == -torch.inf
    if not masked.any():
        return _finite(name, rms(value.double() - truth))
    if not torch.equal(masked, value == -torch.inf):
        raise internal(f"the mask of `{name}` depends on the precision")
    return _finite(name, rms((value.double() - truth)[~masked]))


def _finite(name, value):
    if not math.isfinite(value):
        raise invalid_input(f"`{name}` is not finite")
    return value
