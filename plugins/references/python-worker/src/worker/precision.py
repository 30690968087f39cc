"""Ways to compute the same thing more exactly, or with other rounding."""

import contextlib

import torch
from torch.overrides import TorchFunctionMode

# The precisions whose rounding is measured, as the other side calls them.
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def dtype_name(dtype):
    """As the other side calls it."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def roundoff(dtype):
    """The relative error of a value that was rounded once."""
    return torch.finfo(dtype).eps / 2


def is_narrow(dtype):
    """Whether `dtype` holds less than f32, in which torch computes inside of its operations then."""
    return torch.finfo(dtype).bits < 32


@contextlib.contextmanager
def real_double():
    """Makes HuggingFace code in float64 a real float64 computation.

    `model.double()` alone is none: norms, softmaxes, rotary tables and routers cast to float32 by name. Active while a
    model is loaded, run and differentiated; bf16 is left alone, where it is a model's definition.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float32IsFloat64():
            yield
    finally:
        torch.set_default_dtype(default)


class _Float32IsFloat64(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        if func is torch.Tensor.view:
            # With a precision it says what stored bits mean, and changes no value.
            return func(*args, **(kwargs or {}))
        args = tuple(_widened(value) for value in args)
        return func(*args, **{name: _widened(value) for name, value in (kwargs or {}).items()})


def _widened(value):
    return torch.float64 if value is torch.float32 else value


class SplitContractions(TorchFunctionMode):
    """Sums every matrix product in `parts` pieces: as exact as torch's own order, and rounded differently."""

    def __init__(self, parts):
        super().__init__()
        self._parts = parts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        split = _SPLIT.get(func, func)
        if split is func:
            return func(*args, **(kwargs or {}))
        return split(self._parts, *args, **(kwargs or {}))


def _matmul(parts, input, other):
    columns = input.tensor_split(parts, -1)
    rows = other.tensor_split(parts, -2 if other.dim() > 1 else 0)
    total = None
    for left, right in zip(columns, rows):
        if left.shape[-1] > 0:
            product = torch.matmul(left, right)
            total = product if total is None else total + product
    return total


def _linear(parts, input, weight, bias=None):
    product = _matmul(parts, input, weight.transpose(-1, -2))
    return product if bias is None else product + bias


def _addmm(parts, input, mat1, mat2, *, beta=1, alpha=1):
    return beta * input + alpha * _matmul(parts, mat1, mat2)


def _baddbmm(parts, input, batch1, batch2, *, beta=1, alpha=1):
    product = alpha * _matmul(parts, batch1, batch2)
    # With beta 0 the input is ignored, NaN and all.
    return product if beta == 0 else beta * input + product


_SPLIT = {
    torch.nn.functional.linear: _linear,
    torch.matmul: _matmul,
    torch.Tensor.matmul: _matmul,
    torch.Tensor.__matmul__: _matmul,
    torch.mm: _matmul,
    torch.Tensor.mm: _matmul,
    torch.bmm: _matmul,
    torch.Tensor.bmm: _matmul,
    torch.addmm: _addmm,
    torch.Tensor.addmm: _addmm,
    torch.baddbmm: _baddbmm,
    torch.Tensor.baddbmm: _baddbmm,
}
