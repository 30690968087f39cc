"""Draws every parameter of a model anew, so that no porting fault hides in it.

A freshly initialised model has gains of 1, biases of 0, and embeddings so even that epsilon never matters.
"""

import math
import pathlib

import torch

SEED = 20


@torch.no_grad()
def sensitise(model, centre: float = 1.0, faintest: float = 0.01) -> None:
    """`centre` is where gains are stored around; embedding rows are from `faintest` to 1, evenly in the logarithm."""
    generator = torch.Generator().manual_seed(SEED)
    parameters = dict(model.named_parameters())
    for name in sorted(parameters):
        parameter = parameters[name]
        normal = torch.randn(parameter.shape, generator=generator)
        uniform = torch.rand(parameter.shape[:1], generator=generator)
        if name.endswith(("embed_in.weight", "embed_tokens.weight", "word_embeddings.weight")):
            parameter.copy_(normal * (faintest ** (1 - uniform))[:, None])
        elif name.endswith(".bias"):
            parameter.copy_(0.3 * normal)
        elif parameter.dim() == 1:
            parameter.copy_(centre - 0.5 + uniform)
        else:
            # The last dimension is what is summed over, also where experts are stacked.
            parameter.copy_(normal / math.sqrt(parameter.shape[-1]))


def write(model, folder: pathlib.Path, **how) -> None:
    """Sensitises `model`, and writes it as a checkpoint."""
    sensitise(model, **how)
    model.save_pretrained(folder)
