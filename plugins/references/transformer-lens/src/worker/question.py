"""A question as TransformerLens has to be asked it."""

import dataclasses

from .protocol import invalid_input
from .stimulus import HOOK, HOOK_GRADIENT, Stimulus, parse_stimulus

# Flags without which some hooks do not fire. Those of the second kind exclude each other, and give the norm before
# them a dimension of heads: what they show is taken from runs of their own.
TOGETHER = ("attn_result", "hook_mlp_in")
ALONE = ("attn_in", "split_qkv_input")


@dataclasses.dataclass(frozen=True)
class Question:
    """A stimulus, and the hooks of the model that it is about."""

    stimulus: Stimulus
    # By hook: its dimensions, and its flag if it has one.
    dims: dict
    gates: dict

    @property
    def hooks(self):
        """All that are looked at or edited."""
        seen = self.stimulus.named(HOOK) | self.stimulus.named(HOOK_GRADIENT) | self.stimulus.truth.keys()
        return seen | self.stimulus.edits_of("hook").keys() | self.stimulus.edits_of("hook_gradient").keys()

    def flag(self, hook):
        """What has to be on for a hook, of the flags that exclude each other; None: nothing."""
        gate = self.gates.get(hook)
        return gate if gate in ALONE else None

    @property
    def flags(self):
        """Each takes a run; None stands for the one without any of them."""
        return [None, *sorted({self.flag(name) for name in self.hooks} - {None})]

    @property
    def flags_of_rows(self):
        """By row: the flags that its edits take."""
        flags = [set() for _ in range(self.stimulus.shape[0])]
        for edit in self.stimulus.edits:
            if (flag := self.flag(edit.name)) is not None:
                for row in range(len(flags)) if edit.rows is None else edit.rows:
                    flags[row].add(flag)
        return flags


def parse_question(request, tensors, hooks):
    """The question of a request about a model that has `hooks`."""
    question = Question(
        parse_stimulus("question", request, tensors),
        {name: tuple(dim if isinstance(dim, str) else "size" for dim in hook["shape"]) for name, hook in hooks.items()},
        {name: hook["gate"] for name, hook in hooks.items() if hook["gate"]},
    )
    if unknown := sorted(question.hooks - question.dims.keys()):
        raise invalid_input(f"`{unknown[0]}` is no hook of this model")
    rows = question.stimulus.shape[0]
    for edit in question.stimulus.edits:
        if edit.target != "weight" and (outside := [row for row in edit.rows or () if row >= rows]):
            raise invalid_input(f"`{edit.name}`: expected an index below {rows} to edit at, found {outside[0]}")
    return question
