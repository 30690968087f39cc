"""What a model is shown, and what of its answer can be compared."""

import dataclasses

import torch

from .precision import is_narrow
from .protocol import invalid_input

LOGITS, LOG_PROBS, LOSS_PER_TOKEN, LOSS = "logits", "log_probs", "loss_per_token", "loss"
DERIVED = (LOGITS, LOG_PROBS, LOSS_PER_TOKEN, LOSS)
HOOK = "hook:"

_INPUTS = ("input_ids", "attention_mask", "position_ids")


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """An input; what is real in it, and what is wanted of the answer."""

    id: str
    quantities: tuple
    inputs: dict

    @property
    def shape(self):
        """(batch, positions)."""
        return tuple(self.inputs["input_ids"].shape)

    @property
    def real(self):
        """Where there is a token, [batch, pos]."""
        return self.inputs["attention_mask"].bool()

    @property
    def pairs(self):
        """Where a token and its successor are both real, [batch, pos - 1]."""
        return self.real[:, :-1] & self.real[:, 1:]

    @property
    def hooks(self):
        """The names of the hooks that are wanted."""
        return {name.removeprefix(HOOK) for name in self.quantities if name.startswith(HOOK)}

    def rows(self, quantity):
        """On how many positions `quantity` is compared."""
        return int((self.pairs if quantity in (LOSS_PER_TOKEN, LOSS) else self.real).sum())

    def comparable(self, value, dims):
        """The entries of `value` that belong to real positions, [rows, ..].

        Queries decide where there are any: a real query looks at every key, masked ones included.
        """
        position = dims.index("pos") if "pos" in dims else dims.index("key_pos")
        return value.movedim((dims.index("batch"), position), (0, 1))[self.real]

    def derived(self, logits):
        """What follows from the logits, in their own precision but for narrow ones; the log-softmax always in f64."""
        # As transformers' own loss does.
        logits = logits.float() if is_narrow(logits.dtype) else logits
        targets = self.inputs["input_ids"][:, 1:]
        entropy = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="none"
        ).view(targets.shape)
        per_token = torch.where(self.pairs, entropy, 0.0)
        return {
            LOGITS: logits,
            LOG_PROBS: logits.double().log_softmax(-1),
            LOSS_PER_TOKEN: per_token,
            # Where no token has a successor there is nothing to be wrong about.
            LOSS: per_token.sum() / self.pairs.sum().clamp(min=1),
        }

    def comparable_derived(self, quantity, value):
        """The entries of a value from `derived` that belong to real positions."""
        if quantity == LOSS:
            return value
        return value[self.pairs if quantity == LOSS_PER_TOKEN else self.real]


def parse_stimuli(described, tensors):
    """The stimuli of a request; their tensors are called `ID/input_ids` and so on."""
    return [_stimulus(each["id"], each["request"]["capture"], tensors) for each in described]


def _stimulus(name, quantities, tensors):
    inputs = {}
    for key in _INPUTS:
        value = tensors.get(f"{name}/{key}")
        if value is None or value.dtype != torch.int64 or value.dim() != 2 or 0 in value.shape:
            raise invalid_input(f"`{name}` needs `{key}`, an i64 tensor of [batch, pos]")
        inputs[key] = value
    if len({value.shape for value in inputs.values()}) > 1:
        raise invalid_input(f"the inputs of `{name}` differ in shape")
    if not inputs["attention_mask"].any():
        raise invalid_input(f"`{name}` has no token that is not padding")
    return Stimulus(name, tuple(quantities), inputs)
