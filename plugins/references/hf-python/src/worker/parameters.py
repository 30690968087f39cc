"""transformers' parameters, by the names of a checkpoint's tensors."""

import dataclasses
import typing

from .protocol import unsupported

try:
    from transformers.core_model_loading import revert_weight_conversion
except ImportError:
    # Before 5, a checkpoint's tensors are the parameters.
    def revert_weight_conversion(model, tensors):
        return tensors


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint's tensor: a parameter, or a part of one (experts are stacked in memory)."""

    parameter: typing.Any
    path: str
    # What transformers itself would save it as.
    name: str

    def part(self, model, value):
        """Its part of a value that is shaped as the parameter is."""
        return revert_weight_conversion(model, {self.path: value})[self.name]


def parameters(model, stored):
    """Where each of the names `stored` was loaded to; tied ones share a parameter.

    The inner model alone saves its tensors without the prefix that a language model's have.
    """
    known = {
        name: Stored(parameter, path, name)
        for path, parameter in model.named_parameters(remove_duplicate=False)
        for name in revert_weight_conversion(model, {path: parameter.detach()})
    }
    prefix = f"{model.base_model_prefix}."
    found = {}
    for name in stored:
        spelled = [name, prefix + name, name.removeprefix(prefix)]
        path = next((path for path in spelled if path in known), None)
        if path is None:
            raise unsupported(f"{type(model).__name__} in transformers has no parameter `{name}`")
        found[name] = known[path]
    return found
