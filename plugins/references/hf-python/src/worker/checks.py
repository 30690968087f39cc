"""What has to hold before the worker vouches for an answer."""

import torch

from .measure import rms
from .protocol import internal
from .stimulus import LOSS

# At most this, relative, between the tapped and the untapped model in f64.
SAME = 1e-12
# At most this, relative, between autograd and finite differences.
DIFFERENTIATED = 1e-8
# At most this many floors between the tapped and the untapped model in f32, where they may add up in another order.
CLOSE = 3

# Relative to the rms of each parameter.
_STEP = 3e-6


def same_logits(tapped, untapped, allowed, meaning):
    """Refuses taps that change what they show. Returns the error as a share of the logits."""
    error = rms(tapped.double() - untapped.double())
    if not error <= allowed:
        raise internal(f"the taps change the logits by {error:.1e} ({meaning}, at most {allowed:.1e})")
    magnitude = rms(untapped)
    return error / magnitude if magnitude else 0.0


def finite_differences(run, model, stimulus, seed):
    """The relative error of central differences against autograd, along a random direction of all parameters.

    A value that is rounded to f32 anywhere on the way shows here, at 1e-5 or more. The differences are of fourth order:
    faint embedding rows ahead of a norm curve the function so much that the plain ones would disagree by 1e-8 by
    themselves. Changes the parameters.
    """
    parameters = list(model.parameters())
    scales = [rms(parameter) for parameter in parameters]

    def directions():
        # Drawn anew each time, so that no copy of the model has to be kept.
        generator = torch.Generator().manual_seed(seed)
        for parameter, scale in zip(parameters, scales):
            yield scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)

    def shifted(step):
        """The objective, `step` further on from where the parameters are."""
        for parameter, direction in zip(parameters, directions()):
            parameter.add_(direction, alpha=step)
        return _objective(run(), stimulus, seed).item()

    slope = _slope(run, model, directions(), stimulus, seed)
    ahead, far_ahead = shifted(_STEP), shifted(_STEP)
    behind, far_behind = shifted(-3 * _STEP), shifted(-_STEP)
    difference = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * _STEP)
    error = abs(difference - slope) / abs(slope) if slope else abs(difference)
    if not error <= DIFFERENTIATED:
        raise internal(
            f"finite differences disagree with autograd by {error:.1e} (at most {DIFFERENTIATED:.0e}): "
            "transformers does not compute this model in f64 throughout"
        )
    return error


def _slope(run, model, directions, stimulus, seed):
    """The derivative of the objective along the directions, by autograd."""
    model.requires_grad_(True)
    with torch.enable_grad():
        objective = _objective(run(), stimulus, seed)
    gradients = torch.autograd.grad(objective, list(model.parameters()), allow_unused=True)
    model.requires_grad_(False)
    pairs = zip(gradients, directions)
    return sum(torch.sum(gradient * direction).item() for gradient, direction in pairs if gradient is not None)


def _objective(logits, stimulus, seed):
    """The loss, and a random projection of the logits whose gradient does not vanish where there is no loss."""
    loss = stimulus.derive(LOSS, logits)
    logits = logits[stimulus.real]
    generator = torch.Generator().manual_seed(seed + 1)
    weights = torch.randn(logits.shape, generator=generator, dtype=logits.dtype)
    return loss + (logits * weights).sum() / logits.numel() ** 0.5
