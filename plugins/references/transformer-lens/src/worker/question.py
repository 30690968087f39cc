"""A question as TransformerLens has to be asked it."""

import dataclasses

import torch

from .protocol import invalid_input, unsupported
from .stimulus import HOOK, HOOK_GRADIENT, Stimulus, parse_stimulus

# Flags of TransformerLens that cannot be on together.
_EXCLUSIVE = {"attn_in", "split_qkv_input"}


@dataclasses.dataclass(frozen=True)
class Question:
    """A stimulus, and the hooks of the model that it is about."""

    stimulus: Stimulus
    # What the model is given: the inputs of the stimulus, less those that nobody gave.
    inputs: dict
    # By hook: its dimensions, and the flag without which it does not fire.
    dims: dict
    gates: dict

    @property
    def hooks(self):
        """All that are looked at or edited."""
        seen = self.stimulus.named(HOOK) | self.stimulus.named(HOOK_GRADIENT) | self.stimulus.truth.keys()
        return seen | self.stimulus.edits_of("hook").keys() | self.stimulus.edits_of("hook_gradient").keys()

    def runs(self):
        """The sets of flags with which the model has to run: a flag changes in which order values are summed, so it is
        on where one of its hooks is looked at or edited, and nowhere else."""
        looked_at = self.stimulus.named(HOOK) | self.stimulus.named(HOOK_GRADIENT)
        shown = {frozenset()} | {self._flags(name) for name in looked_at}
        runs = {edited | flags for edited in self.flags_of_rows() for flags in shown}
        return sorted((run for run in runs if not run >= _EXCLUSIVE), key=sorted)

    def flags_of_rows(self):
        """By row: the flags that its edits take."""
        flags = [frozenset()] * self.stimulus.shape[0]
        for edit in self.row_edits():
            for row in range(len(flags)) if edit.rows is None else edit.rows:
                flags[row] |= self._flags(edit.name)
        return flags

    def merged(self, name, found):
        """What is known about a hook (None: about the logits), each row from the run with the flags that it takes."""
        runs = [edited | self._flags(name) for edited in self.flags_of_rows()]
        if alone := [run for run in runs if run not in found]:
            flags = "` and `".join(f"use_{flag}" for flag in sorted(alone[0]))
            raise unsupported(
                f"`{name}` in a row whose edits take another flag: TransformerLens does not have `{flags}` together"
            )
        merged = found[runs[0]].clone()
        for row, run in enumerate(runs):
            merged[row] = found[run][row]
        return merged

    def row_edits(self):
        """Those of one row of the batch or more."""
        return [edit for edit in self.stimulus.edits if edit.target != "weight"]

    def _flags(self, name):
        return frozenset({self.gates[name]} if name in self.gates else ())


def parse_question(request, tensors, hooks):
    """The question of a request about a model that has `hooks`."""
    stimulus = parse_stimulus("question", request, {**_defaults(tensors), **tensors})
    question = Question(
        stimulus,
        {name: value for name, value in stimulus.inputs.items() if f"inputs/{name}" in tensors},
        {name: tuple(dim if isinstance(dim, str) else "size" for dim in hook["shape"]) for name, hook in hooks.items()},
        {name: hook["gate"] for name, hook in hooks.items() if hook["gate"]},
    )
    if unknown := sorted(question.hooks - question.dims.keys()):
        raise invalid_input(f"`{unknown[0]}` is no hook of this model")
    rows = stimulus.shape[0]
    for edit in question.row_edits():
        if outside := [row for row in edit.rows or () if row >= rows]:
            raise invalid_input(f"`{edit.name}`: expected an index below {rows} to edit at, found {outside[0]}")
    return question


def _defaults(tensors):
    """No padding, and positions that count."""
    ids = tensors.get("inputs/input_ids")
    if ids is None:
        return {}
    mask = tensors.get("inputs/attention_mask", torch.ones_like(ids))
    return {"inputs/attention_mask": mask, "inputs/position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
