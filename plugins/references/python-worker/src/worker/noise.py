"""Random numbers that every implementation draws alike: those of the SDK's `noise`, bit for bit."""

import math

import torch

_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def noise(seed, count):
    """`count` numbers of f64, uniform between -sqrt(3) and sqrt(3); number `i` depends on `seed` and `i` alone.

    SplitMix64 in signed integers, which wrap around as unsigned ones do.
    """
    state = torch.arange(1, count + 1, dtype=torch.int64) * _signed(_GAMMA) + _signed(seed)
    mixed = (state ^ _shifted(state, 30)) * _signed(_FIRST)
    mixed = (mixed ^ _shifted(mixed, 27)) * _signed(_SECOND)
    bits = _shifted(mixed ^ _shifted(mixed, 31), 11)
    # 2^-53 of the 53 bits is a number from 0 to 1.
    unit = bits.double() * 2.0**-53
    return (2.0 * unit - 1.0) * math.sqrt(3.0)


def projection_weights(seed, shape):
    """The weights of a projection of logits of `shape`, [batch, pos, d_vocab]: noise less its mean over the vocabulary."""
    weights = noise(seed, math.prod(shape)).view(shape)
    # Summed one after the other, as the SDK does; a plain sum adds in another order.
    mean = weights.cumsum(-1)[..., -1:] / shape[-1]
    return (weights - mean) / math.sqrt(weights.numel())


def _signed(value):
    """The same 64 bits as a signed integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _shifted(value, places):
    """Shifts zeros in from the left, where torch would repeat the sign."""
    return (value >> places) & ((1 << (64 - places)) - 1)
