"""TransformerLens's weight processing in the precision of the weights."""

import contextlib

import torch


@contextlib.contextmanager
def without_single():
    """It takes a detour through f32 by `Tensor.float`, which costs f64 weights half their digits."""
    single = torch.Tensor.float
    torch.Tensor.float = lambda tensor: tensor
    try:
        yield
    finally:
        torch.Tensor.float = single


def steps(processing):
    """Which are taken, as keyword arguments."""
    known = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
    return {step: step in processing for step in known}
