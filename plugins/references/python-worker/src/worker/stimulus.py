"""A question, and what of its answer can be compared."""

import dataclasses

import torch

from .edits import Edit
from .precision import is_narrow
from .protocol import invalid_input

LOGITS, LOG_PROBS, LOSS_PER_TOKEN, LOSS = "logits", "log_probs", "loss_per_token", "loss"
DERIVED = (LOGITS, LOG_PROBS, LOSS_PER_TOKEN, LOSS)
HOOK, HOOK_GRADIENT, PARAMETER_GRADIENT, GENERATED = "hook:", "hook_grad:", "param_grad:", "generated"

_INPUTS = ("input_ids", "attention_mask", "position_ids")


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """An input, what is done with it, and what is wanted of the answer."""

    id: str
    quantities: tuple
    inputs: dict
    # What is differentiated; None: nothing.
    objective: object
    edits: tuple
    # The tensors that edits name.
    operands: dict
    # By hook: what its value is overwritten with once it was seen.
    truth: dict
    # What is done to the weights before.
    processing: tuple
    # Lengths of the pieces that are fed through a cache; empty: all at once.
    chunks: tuple
    # What is appended; None: nothing.
    generate: "dict | None"

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

    def named(self, prefix):
        """The names of what is wanted under `prefix`: of hooks, or parameters."""
        return {name.removeprefix(prefix) for name in self.quantities if name.startswith(prefix)}

    def edits_of(self, target):
        """The edits of hooks, of their gradients or of weights, by name."""
        found = {}
        for edit in self.edits:
            if edit.target == target:
                found.setdefault(edit.name, []).append(edit)
        return found

    @property
    def untouched(self):
        """Where there is a token in a row that no edit changes, [batch, pos]."""
        rows = torch.ones(self.shape[0], dtype=torch.bool)
        for edit in self.edits:
            rows[slice(None) if edit.rows is None else edit.rows] = False
        return self.real & rows[:, None]

    def rows(self, quantity):
        """On how many positions `quantity` is compared."""
        return int((self.pairs if quantity in (LOSS_PER_TOKEN, LOSS) else self.real).sum())

    def comparable(self, value, dims):
        """The entries of `value` that belong to real positions, [rows, ..].

        Queries decide where there are any: a real query looks at every key, masked ones included.
        """
        position = dims.index("pos") if "pos" in dims else dims.index("key_pos")
        return value.movedim((dims.index("batch"), position), (0, 1))[self.real]

    def derive(self, quantity, logits):
        """What follows from the logits, in their own precision but for narrow ones; the log-softmax always in f64."""
        # As transformers' own loss does.
        logits = logits.float() if is_narrow(logits.dtype) else logits
        if quantity == LOGITS:
            return logits
        if quantity == LOG_PROBS:
            return logits.double().log_softmax(-1)
        per_token = self._loss_per_token(logits)
        # Where no token has a successor there is nothing to be wrong about.
        return per_token if quantity == LOSS_PER_TOKEN else per_token.sum() / self.pairs.sum().clamp(min=1)

    def comparable_derived(self, quantity, value):
        """The entries of a value from `derive` that belong to real positions."""
        if quantity == LOSS:
            return value
        return value[self.pairs if quantity == LOSS_PER_TOKEN else self.real]

    def _loss_per_token(self, logits):
        targets = self.inputs["input_ids"][:, 1:]
        entropy = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="none"
        ).view(targets.shape)
        return torch.where(self.pairs, entropy, 0.0)


def parse_stimuli(described, tensors):
    """The stimuli of a request; their tensors are called as those of one are, behind `ID/`."""
    return [parse_stimulus(each["id"], each["request"], _under(each["id"], tensors)) for each in described]


def variant(described):
    """The name and the parameters of a choice: `"zero"` or `{"scale": {..}}`."""
    return (described, {}) if isinstance(described, str) else next(iter(described.items()))


def parse_stimulus(name, request, tensors):
    """One stimulus; its tensors are called `inputs/NAME`, `operands/NAME` and `truth/NAME`."""
    inputs = {}
    for key in _INPUTS:
        value = tensors.get(f"inputs/{key}")
        if value is None or value.dtype != torch.int64 or value.dim() != 2 or 0 in value.shape:
            raise invalid_input(f"`{name}` needs `{key}`, an i64 tensor of [batch, pos]")
        inputs[key] = value
    if len({value.shape for value in inputs.values()}) > 1:
        raise invalid_input(f"the inputs of `{name}` differ in shape")
    if not inputs["attention_mask"].any():
        raise invalid_input(f"`{name}` has no token that is not padding")
    return Stimulus(
        name,
        tuple(request["capture"]),
        inputs,
        (request.get("gradients") or {}).get("objective"),
        tuple(_edit(each) for each in request.get("interventions", ())),
        _under("operands", tensors),
        _under("truth", tensors),
        tuple(request.get("processing", ())),
        tuple(request.get("chunks", ())),
        request.get("generate"),
    )


def _under(prefix, tensors):
    """The tensors whose names begin with it, without it."""
    prefix += "/"
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _edit(described):
    target, name = variant(described["target"])
    action, parameters = variant(described["action"])
    return Edit(target, name, described.get("rows"), described.get("positions"), action, parameters)
