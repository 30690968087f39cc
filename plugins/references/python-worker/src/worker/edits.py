"""Edits of values while a model runs."""

import dataclasses

import torch

from .measure import rms
from .noise import noise
from .protocol import invalid_input, unsupported


@dataclasses.dataclass(frozen=True)
class Edit:
    """An edit of one value, or of its gradient."""

    # "hook", "hook_gradient" or "weight"; and which.
    target: str
    name: str
    # Of the batch, and along it; None: all.
    rows: "list | None"
    positions: "list | None"
    # What is done, and with what.
    action: str
    parameters: dict

    def apply(self, dims, value, operands):
        """The edited value; `value` itself stays as it is."""
        chosen = self._chosen(dims, value)
        return torch.where(chosen, self._edited(value, chosen, operands), value)

    def _edited(self, value, chosen, operands):
        if self.action == "zero":
            return torch.zeros_like(value)
        if self.action == "scale":
            return value * self.parameters["factor"]
        if self.action == "add":
            return value + self._operand(value, operands)
        if self.action == "replace":
            return self._operand(value, operands)
        if self.action == "perturb":
            return self._perturbed(value, chosen)
        raise unsupported(f"an edit of the kind `{self.action}`, which this worker does not know")

    def _operand(self, value, operands):
        name = self.parameters["operand"]
        if name not in operands:
            raise invalid_input(f"`{self.name}`: there is no operand `{name}`")
        operand = operands[name]
        exact = self.action == "replace"
        try:
            fitting = operand.to(value.dtype).expand(value.shape)
        except RuntimeError:
            fitting = None
        if fitting is None or exact and operand.shape != value.shape:
            expected = "of" if exact else "that broadcasts to"
            raise invalid_input(
                f"`{self.name}`: expected an operand {expected} {list(value.shape)}, "
                f"found `{name}` of {list(operand.shape)}"
            )
        return fitting

    def _perturbed(self, value, chosen):
        """Noise of the whole value's shape, as strong as what is edited; what is not finite stays."""
        finite = torch.isfinite(value)
        strength = self.parameters["relative"] * rms(value.detach()[chosen & finite])
        drawn = noise(self.parameters["seed"], value.numel()).view(value.shape).to(value.dtype)
        return torch.where(finite, value + strength * drawn, value)

    def _chosen(self, dims, value):
        """Where the edit applies, of the value's shape."""
        chosen = torch.ones(value.shape, dtype=torch.bool)
        chosen &= self._along(dims.index("batch"), self.rows, value)
        if self.positions is not None:
            axis = next((dims.index(dim) for dim in ("pos", "key_pos") if dim in dims), None)
            if axis is None:
                raise invalid_input(f"`{self.name}` has no positions to edit at")
            chosen &= self._along(axis, self.positions, value)
        return chosen

    def _along(self, axis, entries, value):
        size = value.shape[axis]
        flags = torch.ones(size, dtype=torch.bool)
        if entries is not None:
            if outside := [entry for entry in entries if entry >= size]:
                raise invalid_input(f"`{self.name}`: expected an index below {size} to edit at, found {outside[0]}")
            flags = torch.zeros(size, dtype=torch.bool)
            flags[entries] = True
        return flags.view([-1 if dim == axis else 1 for dim in range(value.dim())])
