"""Hooks that show, overwrite and edit."""

import contextlib

import torch

from .protocol import unsupported
from .question import TOGETHER
from .stimulus import HOOK, HOOK_GRADIENT


class Seen:
    """What one run has shown, by hook."""

    def __init__(self):
        self.values = {}
        self.gradients = {}


@contextlib.contextmanager
def observing(model, question, flag):
    """What is shown while the model runs with `flag` on, of those that exclude each other."""
    seen = Seen()
    with _flags(model, question, flag):
        try:
            _register(model, question, flag, seen)
            yield seen
        finally:
            model.model.reset_hooks()


def _register(model, question, flag, seen):
    stimulus = question.stimulus
    edits, gradient_edits = stimulus.edits_of("hook"), stimulus.edits_of("hook_gradient")
    shown, differentiated = stimulus.named(HOOK), stimulus.named(HOOK_GRADIENT)
    for name in question.hooks:
        if question.flag(name) not in (None, flag):
            continue
        point, dims = model.point(name), question.dims[name]
        if name in shown or name in edits or name in stimulus.truth:
            point.add_hook(_forward(model, stimulus, name, dims, edits.get(name, ()), seen), dir="fwd")
        if name in differentiated or name in gradient_edits:
            point.add_hook(_backward(model, stimulus, name, dims, gradient_edits.get(name, ()), seen), dir="bwd")


def _forward(model, stimulus, name, dims, edits, seen):
    is_shown, truth = name in stimulus.named(HOOK), stimulus.truth.get(name)

    def observe(value, hook):
        value = model.shown(name, value)
        # The first of several calls speaks for all.
        if is_shown and name not in seen.values:
            seen.values[name] = _without_heads(dims, value).detach().clone()
        if truth is not None:
            return model.taken(name, _with_heads(dims, truth.to(value.dtype), value))
        if not edits:
            return None
        for edit in edits:
            value = _by_head(dims, value, lambda part, edit=edit: edit.apply(dims, part, stimulus.operands))
        return model.taken(name, value)

    return observe


def _backward(model, stimulus, name, dims, edits, seen):
    is_shown = name in stimulus.named(HOOK_GRADIENT)
    for edit in edits:
        if name.endswith(model.repeated) and edit.action not in ("zero", "scale"):
            raise unsupported(f"the gradient at `{name}` comes in three parts, which cannot be edited as one")

    def observe(gradient, hook):
        if is_shown:
            whole = gradient.detach().clone()
            whole = whole.sum(2) if _has_heads(dims, whole) else whole
            seen.gradients[name] = seen.gradients[name] + whole if name in seen.gradients else whole
        if not edits:
            return None
        for edit in edits:
            gradient = _by_head(dims, gradient, lambda part, edit=edit: edit.apply(dims, part, stimulus.operands))
        return gradient

    return observe


@contextlib.contextmanager
def _flags(model, question, flag):
    gates = {question.gates.get(name) for name in question.hooks}
    chosen = [gate for gate in TOGETHER if gate in gates] + ([flag] if flag else [])
    try:
        for gate in chosen:
            getattr(model.model, f"set_use_{gate}")(True)
        yield
    finally:
        for gate in chosen:
            getattr(model.model, f"set_use_{gate}")(False)


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
