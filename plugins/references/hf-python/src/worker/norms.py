"""Looking inside a norm, by computing it a second time from its own input."""

import dataclasses

import torch

from .precision import is_narrow
from .protocol import invalid_input, unsupported

SCALE, NORMALIZED = "norm_scale", "norm_normalized"
PORTS = (SCALE, NORMALIZED)

_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class NormForm:
    """How a norm computes, as its output proves."""

    # Whether the mean is taken out first.
    centred: bool
    # What is added to the weight before it multiplies.
    offset: float

    def centre(self, value):
        return value - value.mean(-1, keepdim=True) if self.centred else value

    def scale(self, module, centred):
        return (centred.square().mean(-1, keepdim=True) + _epsilon(module)).sqrt()

    def finish(self, module, normalized):
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is not None:
            weight = weight.to(normalized.dtype)
            normalized = normalized * (weight + self.offset if self.offset else weight)
        return normalized if bias is None else normalized + bias

    def compute(self, module, value):
        centred = self.centre(value)
        return self.finish(module, centred / self.scale(module, centred))


_FORMS = [NormForm(centred, offset) for offset in (0.0, 1.0) for centred in (True, False)]


@torch.no_grad()
def find_form(path, module, value, output):
    """The form that reproduces `output`, both in f64."""
    if _epsilon(module) is None:
        raise invalid_input(f"`{path}` ({type(module).__name__}) has no epsilon, so it is no norm to look into")
    for form in _FORMS:
        error = (form.compute(module, value) - output).abs().max()
        if error <= _TOLERANCE * output.abs().max():
            return form
    raise unsupported(f"`{path}` ({type(module).__name__}) computes neither a layer norm nor an RMS norm that is known")


def look_inside(form, module, value, output, show):
    """Shows scale and normalized value; the output is the module's own as long as `show` does not need those.

    In narrow types a norm is one operation, which computes in f32 and rounds its output alone.
    """
    value = value.float() if is_narrow(value.dtype) else value
    centred = form.centre(value)
    scale = form.scale(module, centred)
    if scale.requires_grad:
        # A root is differentiated by what it returned, which must not be written to.
        scale = scale.clone()
    needed = show(SCALE, scale)
    normalized = centred / scale
    needed |= show(NORMALIZED, normalized)
    return form.finish(module, normalized).to(output.dtype) if needed else output


def _epsilon(module):
    for name in ("eps", "variance_epsilon"):
        if isinstance(epsilon := getattr(module, name, None), float):
            return epsilon
    return None
