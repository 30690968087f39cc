"""Hooks that show, overwrite and edit."""

import contextlib

import torch

from .protocol import unsupported
from .stimulus import HOOK, HOOK_GRADIENT


@contextlib.contextmanager
def observing(model, question, flags):
    """Values and gradients by quantity, as they are shown while the model runs with `flags` on."""
    seen = {}
    with model.flags(flags):
        try:
            for name in question.hooks:
                if question.gates.get(name) in (None, *flags):
                    _register(model, question.stimulus, name, question.dims[name], seen)
            yield seen
        finally:
            model.model.reset_hooks()


def _register(model, stimulus, name, dims, seen):
    point = model.point(name)
    edits = stimulus.edits_of("hook").get(name, ())
    if HOOK + name in stimulus.quantities or name in stimulus.truth or edits:
        point.add_hook(_forward(model, stimulus, name, dims, edits, seen), dir="fwd")
    edits = stimulus.edits_of("hook_gradient").get(name, ())
    if HOOK_GRADIENT + name in stimulus.quantities or edits:
        point.add_hook(_backward(model, stimulus, name, dims, edits, seen), dir="bwd")


def _forward(model, stimulus, name, dims, edits, seen):
    quantity, truth = HOOK + name, stimulus.truth.get(name)

    def observe(value, hook):
        shape = value.shape
        value = _apart(stimulus, dims, model.shown(name, value))
        # The first of several calls speaks for all.
        if quantity in stimulus.quantities and quantity not in seen:
            seen[quantity] = _without_heads(dims, value).detach().clone()
        if truth is not None:
            return model.taken(name, _with_heads(dims, truth.to(value.dtype), value)).reshape(shape)
        if not edits:
            return None
        for edit in edits:
            value = _by_head(dims, value, lambda part, edit=edit: edit.apply(dims, part, stimulus.operands))
        return model.taken(name, value).reshape(shape)

    return observe


def _backward(model, stimulus, name, dims, edits, seen):
    quantity = HOOK_GRADIENT + name
    for edit in edits:
        if name.endswith(model.repeated) and edit.action not in ("zero", "scale"):
            raise unsupported(f"the gradient at `{name}` comes in three parts, which cannot be edited as one")

    def observe(gradient, hook):
        shape = gradient.shape
        gradient = _apart(stimulus, dims, gradient)
        if quantity in stimulus.quantities:
            whole = gradient.detach().sum(2) if _has_heads(dims, gradient) else gradient.detach().clone()
            seen[quantity] = seen[quantity] + whole if quantity in seen else whole
        if not edits:
            return None
        for edit in edits:
            gradient = _by_head(dims, gradient, lambda part, edit=edit: edit.apply(dims, part, stimulus.operands))
        return gradient.reshape(shape)

    return observe


def _apart(stimulus, dims, value):
    """By rows and positions where a mixture has the tokens of all rows in one."""
    batch, positions = stimulus.shape
    is_one = value.dim() == len(dims) - 1 and value.shape[0] == batch * positions
    return value.unflatten(0, (batch, positions)) if is_one else value


def _has_heads(dims, value):
    """Whether every head has a copy of what is shown once, as norms do where the block's input is split."""
    return value.dim() == len(dims) + 1


def _without_heads(dims, value):
    return value[:, :, 0] if _has_heads(dims, value) else value


def _with_heads(dims, value, like):
    return value.unsqueeze(2).expand(like.shape) if _has_heads(dims, like) else value


def _by_head(dims, value, edit):
    if not _has_heads(dims, value):
        return edit(value)
    return torch.stack([edit(part) for part in value.unbind(2)], 2)
