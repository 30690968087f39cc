"""Scalar functions of the logits, to differentiate."""

from .noise import projection_weights
from .protocol import invalid_input, unsupported
from .stimulus import LOSS, variant


def objective(stimulus, logits):
    """The scalar that `stimulus` asks the gradients of."""
    kind, parameters = variant(stimulus.objective)
    if kind == "loss":
        return stimulus.derive(LOSS, logits)
    if kind == "projection":
        weights = projection_weights(parameters["seed"], tuple(logits.shape)).to(logits.dtype)
        return (logits * weights)[stimulus.real].sum()
    if kind == "logit_difference":
        return _difference(stimulus.id, logits, **parameters)
    raise unsupported(f"gradients of `{kind}`, which this worker does not know")


def _difference(name, logits, position, token, minus):
    _, positions, vocabulary = logits.shape
    if position >= positions or max(token, minus) >= vocabulary:
        raise invalid_input(
            f"`{name}` asks for the logits of {token} and {minus} at position {position}; "
            f"there are {vocabulary} at each of {positions} positions"
        )
    return (logits[:, position, token] - logits[:, position, minus]).sum()
