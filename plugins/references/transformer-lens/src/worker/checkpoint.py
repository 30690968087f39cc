"""The tensors of a checkpoint, and what a spec cuts from them."""

import dataclasses

import torch

from .protocol import unsupported
from .stimulus import variant


@dataclasses.dataclass(frozen=True)
class Weight:
    """A canonical weight: the tensor that it is cut from, and how."""

    name: str
    stored: str
    cut: list


class Checkpoint:
    """Tensors under their stored names; canonical ones are made of them in f64."""

    def __init__(self, params, tensors):
        self.folder = params["folder"]
        self.architecture = params["architecture"]
        self._stored = tensors
        self._weights = [Weight(**weight) for weight in params["weights"]]
        self._absent = params["absent"]

    def has_stored(self, name):
        return name in self._stored

    def canonical(self, edits=()):
        """Every canonical weight, with what a component could have and has not; `edits` are of stored tensors."""
        stored = dict(self._stored)
        for name, edit in edits:
            stored[name] = edit(stored[name].double())
        state = {each.name: _cut(stored[each.stored].double(), each.cut).clone() for each in self._weights}
        for each in self._absent:
            state[each["name"]] = torch.full(each["shape"], each["neutral"], dtype=torch.float64)
        return state

    def stored_gradient(self, stored, gradients):
        """The gradient by a stored tensor: those by all weights that are cut from it, each put back in its place."""
        whole = torch.zeros_like(self._stored[stored], dtype=torch.float64, requires_grad=True)
        taken, gradient = set(), torch.zeros_like(whole)
        for each in self._weights:
            if each.stored != stored:
                continue
            if each.name not in gradients:
                raise unsupported(f"TransformerLens shows no gradient by `{each.name}`")
            # Tied weights that are one parameter there have one gradient, which is that of both.
            place, part = gradients[each.name]
            if place not in taken:
                taken.add(place)
                gradient += torch.autograd.grad(_cut(whole, each.cut), whole, part.double())[0]
        if not taken:
            raise unsupported(f"no weight of TransformerLens is cut from `{stored}`")
        return gradient.detach()


def _cut(tensor, steps):
    for step in steps:
        kind, parameters = variant(step)
        if kind == "transpose":
            tensor = tensor.transpose(-1, -2)
        elif kind == "slice":
            tensor = tensor.narrow(parameters["dim"], parameters["start"], parameters["len"])
        elif kind == "reshape":
            tensor = tensor.reshape(parameters["shape"])
        elif kind == "permute":
            tensor = tensor.permute(parameters["dims"])
        elif kind == "add":
            tensor = tensor + torch.tensor(parameters["values"], dtype=tensor.dtype)
        else:
            raise unsupported(f"a cut of the kind `{kind}`, which this worker does not know")
    return tensor
