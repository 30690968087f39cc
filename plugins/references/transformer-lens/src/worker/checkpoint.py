"""The tensors of a checkpoint, and what a spec cuts from them."""

import dataclasses

import torch

from .protocol import missing, unsupported
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
        """The gradient by a stored tensor, the sum of those by all that is cut from it.

        `gradients` are places and gradients by canonical name: tied weights that are one parameter there have one.
        """
        found, taken = {}, set()
        for each in self._cut_from(stored):
            if each.name not in gradients:
                raise missing(f"TransformerLens shows no gradient by `{each.name}`")
            place, gradient = gradients[each.name]
            if place not in taken:
                taken.add(place)
                found[each.name] = gradient
        return self._put_back(stored, found)

    def stored_weight(self, stored, weights):
        """A stored tensor, of the canonical weights that are cut from it."""
        cuts = self._cut_from(stored)
        if any(variant(step)[0] == "add" for each in cuts for step in each.cut):
            raise unsupported(f"`{stored}`, from which weights are cut with a shift")
        parts = {each.name: weights[each.name] for each in cuts if each.name in weights}
        ones = {name: torch.ones_like(part) for name, part in parts.items()}
        # What several take is there as often.
        return self._put_back(stored, parts) / self._put_back(stored, ones)

    def _cut_from(self, stored):
        return [each for each in self._weights if each.stored == stored]

    def _put_back(self, stored, parts):
        """The sum of `parts`, by canonical name, each where it is cut from."""
        whole = torch.zeros_like(self._stored[stored], dtype=torch.float64, requires_grad=True)
        total = torch.zeros_like(whole)
        for each in self._cut_from(stored):
            if each.name in parts:
                part, cut = parts[each.name].detach().double(), _cut(whole, each.cut)
                if part.shape != cut.shape:
                    # The bridge repeats grouped keys and values for every query head.
                    shapes = f"{list(part.shape)}, where the checkpoint has {list(cut.shape)}"
                    raise unsupported(f"TransformerLens shows `{each.name}` as {shapes}")
                # A cut moves values and changes none, so its adjoint is its inverse.
                total += torch.autograd.grad(cut, whole, part)[0]
        return total


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
