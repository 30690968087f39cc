"""Gradients, and values of a run that is edited on the way."""

import torch

from . import attention, checks, measure
from .asking import Asking
from .objective import objective
from .parameters import parameters
from .protocol import internal
from .stimulus import DERIVED, HOOK, HOOK_GRADIENT, PARAMETER_GRADIENT
from .taps import Instruments

# `to(torch.float32)` would mean f64 where f32 is computed in f64.
_SINGLE = torch.zeros((), dtype=torch.float32)


class Altered(Asking):
    """Measures what was asked for, and nothing else."""

    def __init__(self, setting, stimulus, report):
        super().__init__(setting, stimulus, report)
        self._values = stimulus.named(HOOK)
        self._gradients = stimulus.named(HOOK_GRADIENT)
        self._edits = stimulus.edits_of("hook")

    def _run(self, saw, hooks):
        needed = self._values | self._gradients | self._edits.keys()
        hooks = [hook for hook in hooks if hook.name in needed]
        differentiated = self._stimulus.objective is not None
        self._model.requires_grad_(differentiated)
        with torch.set_grad_enabled(differentiated):
            logits = self._observe(saw, hooks)
            if differentiated:
                self._differentiate(saw, objective(self._stimulus, logits), hooks)
        logits = logits.detach()
        for name in DERIVED:
            if name in self._stimulus.quantities:
                saw(name, self._stimulus.derive(name, logits))
        return logits

    def _observe(self, saw, hooks):
        self._unseen = {hook.name for hook in hooks} & self._gradients

        def observe(hook, value):
            if hook.name in self._values:
                saw(HOOK + hook.name, value.detach())
            edits = self._edits.get(hook.name, ())
            for edit in edits:
                value = edit.apply(hook.dims, value, self._stimulus.operands)
            return value if edits else None

        def observe_gradient(hook, gradient):
            self._unseen.discard(hook.name)
            saw(HOOK_GRADIENT + hook.name, gradient)

        shape, watched = self._stimulus.shape, self._gradients
        with Instruments(self._model, shape, hooks, self._forms, observe, watched, observe_gradient):
            return self._forward()

    def _differentiate(self, saw, value, hooks):
        """Gradients of parameters are shown and dropped one by one, so that there is never a copy of the whole model."""
        unseen = self._stimulus.named(PARAMETER_GRADIENT)
        names = {}
        for name, stored in parameters(self._model, sorted(unseen)).items():
            names.setdefault(stored.parameter, []).append((name, stored))

        def show(parameter):
            for name, stored in names.get(parameter, ()):
                unseen.discard(name)
                saw(PARAMETER_GRADIENT + name, stored.part(self._model, parameter.grad))
            parameter.grad = None

        handles = [parameter.register_post_accumulate_grad_hook(show) for parameter in self._model.parameters()]
        try:
            value.backward()
        finally:
            for handle in handles:
                handle.remove()
        if missing := sorted(unseen | self._unseen):
            raise internal(f"no gradient reached `{missing[0]}`")

    def _keep(self, name, value):
        if not name.startswith(PARAMETER_GRADIENT):
            super()._keep(name, value)
            return
        # Rounded at once: in f64 they would take twice the room of the weights.
        self._set_truth(name, value.detach().to(_SINGLE), value)

    def _check_truth(self, logits):
        """Rows that no edit touches have to be as without a tap; where there is none, those of plain questions speak."""
        untouched = self._stimulus.untouched
        if untouched.any():
            allowed = checks.SAME * measure.rms(logits[untouched])
            self._compare_untapped(logits, untouched, "tapped_logits_f64", allowed)

    def _measure_fused(self):
        # It could not be edited inside.
        if not any(self._hook[name].port in attention.PORTS for name in self._edits):
            super()._measure_fused()
