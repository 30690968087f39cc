"""As many runs as it takes to show hooks behind flags."""

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
    first, *others = set(question.flags_of_rows())
    if others and question.stimulus.named(PARAMETER_GRADIENT):
        raise unsupported("gradients by parameters where the edits of one row take a flag that those of another do not")
    return _merged(question, lambda flags: _run(model, question, flags, differentiated if flags == first else _nothing))


def run_in_pieces(model, question):
    """The same of inputs that are fed in pieces, without gradients."""
    if question.stimulus.objective is not None or question.stimulus.edits or question.stimulus.truth:
        raise unsupported("an edit, a gradient or a local run in pieces")
    return _merged(question, lambda flags: _feed(model, question, flags))


def _merged(question, run):
    found = {flags: run(flags) for flags in question.runs()}
    logits = question.merged(None, {flags: logits for flags, (logits, _) in found.items()})
    shown = {}
    for prefix in (HOOK, HOOK_GRADIENT):
        for name in question.stimulus.named(prefix):
            quantity = prefix + name
            values = {flags: values[quantity] for flags, (_, values) in found.items() if quantity in values}
            if values:
                shown[quantity] = question.merged(name, values)
    return logits, shown


def _nothing():
    pass


def _run(model, question, flags, differentiated):
    stimulus = question.stimulus
    with torch.set_grad_enabled(stimulus.objective is not None), observing(model, question, flags) as seen:
        logits = model.forward(question.inputs)
        if stimulus.objective is not None:
            model.model.zero_grad(set_to_none=True)
            objective(stimulus, logits).backward()
            differentiated()
            model.model.zero_grad(set_to_none=True)
    return logits.detach(), seen


@torch.no_grad()
def _feed(model, question, flags):
    stimulus, pieces = question.stimulus, {}

    def step(inputs, start, end, cache, use_cache):
        with observing(model, question, flags) as seen:
            answer = model.step(inputs, start, end, cache, use_cache)
        for quantity, value in seen.items():
            pieces.setdefault(quantity, []).append(value)
        return answer

    logits = in_pieces(step, stimulus.inputs, stimulus.chunks)
    dims = lambda quantity: question.dims[quantity.removeprefix(HOOK)]
    length = stimulus.shape[1]
    return logits, {quantity: _joined(quantity, dims(quantity), parts, length) for quantity, parts in pieces.items()}


def _joined(quantity, dims, parts, length):
    """One after the other along the positions; keys that a piece has not seen are masked."""
    if "key_pos" in dims and "pos" in dims:
        masked = -torch.inf if quantity.endswith("hook_attn_scores") else 0.0
        parts = [_widened(part, dims.index("key_pos"), length, masked) for part in parts]
    return torch.cat(parts, dims.index("pos") if "pos" in dims else dims.index("key_pos"))


def _widened(part, axis, length, masked):
    missing = list(part.shape)
    missing[axis] = max(length - missing[axis], 0)
    return torch.cat([part, torch.full(missing, masked, dtype=part.dtype)], axis)
