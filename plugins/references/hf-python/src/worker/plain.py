"""Values of one pass over the input, as it is."""

import contextlib

import torch

from . import checks
from .asking import Asking
from .precision import SplitContractions, dtype_name
from .stimulus import DERIVED, HOOK, LOG_PROBS, LOGITS
from .taps import Instruments

# Nothing follows it but the logits, which are to be the model's own.
_HEAD = "unembed.hook_out"


class Plain(Asking):
    """Measures everything that can be observed, whether it was asked for or not: shorter inputs learn from longer ones."""

    def _run(self, saw, hooks):
        logits = self._observe(hooks, lambda hook, value: saw(HOOK + hook.name, value))
        for name in DERIVED:
            saw(name, self._stimulus.derive(name, logits))
        return logits

    @torch.no_grad()
    def _observe(self, hooks, observe):
        with Instruments(self._model, self._stimulus.shape, hooks, self._forms, observe):
            return self._forward()

    def _check_truth(self, logits):
        allowed = checks.SAME * self.answers[LOGITS].rms
        self._compare_untapped(logits, self._stimulus.real, "tapped_logits_f64", allowed)

    def _check_rounding(self, logits):
        self._measure_locally()
        check = f"tapped_logits_{dtype_name(self._setting.dtype)}"
        self._compare_untapped(logits, self._stimulus.real, check, checks.CLOSE * self._floor(LOGITS))

    def _measure_locally(self):
        """Overwrites every wanted hook with the truth once it was seen, so that errors do not add up."""
        wanted = self._stimulus.named(HOOK)
        wanted = [hook for hook in self._setting.hooks if hook.name in wanted]
        if not wanted:
            return

        def overwrite(hook, value):
            name = HOOK + hook.name
            self.answers[name].saw_locally(self._error(name, value))
            # As it was handed out; writing it rounds it to what the model computes in.
            return None if hook.name == _HEAD else self._truth[name].to(torch.float32)

        for mode in (contextlib.nullcontext(), *map(SplitContractions, self._splits())):
            with mode:
                logits = self._observe(wanted, overwrite)
            for name in (LOGITS, LOG_PROBS):
                self.answers[name].saw_locally(self._error(name, self._stimulus.derive(name, logits)))
