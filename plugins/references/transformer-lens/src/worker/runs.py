"""As many runs as it takes to show hooks whose flags exclude each other."""

import torch

from .feeding import in_pieces
from .objective import objective
from .observing import observing
from .protocol import unsupported
from .stimulus import HOOK, HOOK_GRADIENT, PARAMETER_GRADIENT


def run(model, question, differentiated):
    """Logits, and values and gradients at hooks, by quantity.

    `differentiated` is called when parameters have their gradients.
    """
    by_row = [_only(flags) for flags in question.flags_of_rows]
    if len(set(by_row)) > 1 and question.stimulus.named(PARAMETER_GRADIENT):
        raise unsupported("gradients by parameters where the edits of one row take a flag that those of another do not")
    found = {flag: _run(model, question, flag, differentiated if flag == by_row[0] else _nothing) for flag in question.flags}
    logits = _merged(by_row, None, {flag: logits for flag, (logits, _) in found.items()})
    return logits, _shown(question, by_row, {flag: values for flag, (_, values) in found.items()})


def run_in_pieces(model, question):
    """The same of inputs that are fed in pieces, without gradients."""
    if question.stimulus.objective is not None or question.stimulus.edits or question.stimulus.truth:
        raise unsupported("an edit, a gradient or a local run in pieces")
    by_row = [None] * question.stimulus.shape[0]
    found = {flag: _feed(model, question, flag) for flag in question.flags}
    return found[None][0], _shown(question, by_row, {flag: values for flag, (_, values) in found.items()})


def _nothing():
    pass


def _run(model, question, flag, differentiated):
    stimulus = question.stimulus
    with torch.set_grad_enabled(stimulus.objective is not None), observing(model, question, flag) as seen:
        logits = model.forward(stimulus.inputs)
        if stimulus.objective is not None:
            model.model.zero_grad(set_to_none=True)
            objective(stimulus, logits).backward()
            differentiated()
            model.model.zero_grad(set_to_none=True)
    gradients = {HOOK_GRADIENT + name: gradient for name, gradient in seen.gradients.items()}
    return logits.detach(), {**{HOOK + name: value for name, value in seen.values.items()}, **gradients}


@torch.no_grad()
def _feed(model, question, flag):
    inputs, pieces = question.stimulus.inputs, {}

    def step(inputs, start, end, cache, use_cache):
        with observing(model, question, flag) as seen:
            answer = model.step(inputs, start, end, cache, use_cache)
        for name, value in seen.values.items():
            pieces.setdefault(name, []).append(value)
        return answer

    logits = in_pieces(step, inputs, question.stimulus.chunks)
    length = question.stimulus.shape[1]
    return logits, {HOOK + name: _joined(name, question.dims[name], parts, length) for name, parts in pieces.items()}


def _joined(name, dims, parts, length):
    """One after the other along the positions; keys that a piece has not seen are masked."""
    if "key_pos" in dims and "pos" in dims:
        masked = -torch.inf if name.endswith("hook_attn_scores") else 0.0
        parts = [_widened(part, dims.index("key_pos"), length, masked) for part in parts]
    return torch.cat(parts, dims.index("pos") if "pos" in dims else dims.index("key_pos"))


def _widened(part, axis, length, masked):
    missing = list(part.shape)
    missing[axis] = max(length - missing[axis], 0)
    return torch.cat([part, torch.full(missing, masked, dtype=part.dtype)], axis)


def _only(flags):
    if len(flags) > 1:
        raise unsupported(f"edits of one row that take both `{'` and `'.join(sorted(flags))}`, which exclude each other")
    return next(iter(flags), None)


def _shown(question, by_row, found):
    """By quantity: what the run with the hook's flag has shown."""
    shown = {}
    for quantity in {quantity for values in found.values() for quantity in values}:
        own = question.flag(quantity.split(":", 1)[1])
        shown[quantity] = _merged(by_row, own, {flag: values[quantity] for flag, values in found.items() if quantity in values})
    return shown


def _merged(by_row, own, found):
    """The value of the run with the flag `own`, but rows whose edits take another from the run with that."""
    merged = found[own].clone()
    for row, flag in enumerate(by_row):
        if flag not in (None, own):
            if flag not in found:
                raise unsupported(f"a hook that takes `{own}` in a row with an edit that takes `{flag}`, as these exclude each other")
            merged[row] = found[flag][row]
    return merged
