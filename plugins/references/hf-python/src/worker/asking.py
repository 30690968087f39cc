"""What asking any question has in common: a truth in f64, and how far the model's own precision is from it."""

from __future__ import annotations

import dataclasses
import typing

import torch

from . import attention, checks, measure
from .loading import switch_attention
from .precision import SplitContractions, dtype_name, is_narrow, real_double, roundoff
from .protocol import internal, invalid_input
from .stimulus import DERIVED, HOOK, HOOK_GRADIENT

# Sums of every matrix product in pieces: the same function, rounded otherwise. In narrow types each piece would be
# rounded by itself, and the sum be worse than any healthy one.
_SPLITS = (3, 5)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Who is asked, and how."""

    checkpoint: typing.Any
    # The attention that lets itself be observed, if the model has one.
    attention: str
    hooks: list
    # The precision on trial.
    dtype: torch.dtype
    progress: typing.Callable


@dataclasses.dataclass
class Answer:
    """What is known about one quantity on one stimulus."""

    rms: float
    rows: int
    # The largest error of any variant.
    cumulative: float = 0.0
    # The same where every hook was overwritten with the truth; None: not measured.
    local: float | None = None

    def saw(self, error):
        self.cumulative = max(self.cumulative, error)

    def saw_locally(self, error):
        self.local = max(self.local or 0.0, error)


class Asking:
    """One question: a fresh model for each precision, since some keep state between calls."""

    def __init__(self, setting, stimulus, report):
        self._setting = setting
        self._stimulus = stimulus
        self._report = report
        self._progress = lambda what: setting.progress(f"{stimulus.id}: {what}")
        self._hook = {hook.name: hook for hook in setting.hooks}
        self._forms = {}
        self._truth = {}
        self._model = None
        self.answers = {}

    def find_truth(self, seed):
        """Runs the model in f64; with a seed, its derivatives are checked as well."""
        self._progress("computing the truth in f64")
        with real_double():
            self._load(torch.float64)
            logits = self._run(self._keep, self._setting.hooks)
            if seed is not None:
                self._progress("checking derivatives")
                self._report["checks"]["finite_differences"] = checks.finite_differences(
                    self._forward, self._model, self._stimulus, seed
                )
                self._load(torch.float64)
            self._check_truth(logits)
        self._model = None

    def measure_rounding(self):
        """Runs variants of the model in the precision on trial."""
        self._progress(f"measuring rounding in {dtype_name(self._setting.dtype)}")
        self._load(self._setting.dtype)
        logits = self._run(self._compare, self._setting.hooks)
        for parts in self._splits():
            with SplitContractions(parts):
                self._run(self._compare, self._setting.hooks)
        self._check_rounding(logits)
        self._measure_fused()
        self._model = None

    def rounded(self):
        """What was asked for, rounded once."""
        return {name: self._truth[name].to(torch.float32).contiguous() for name in self._stimulus.quantities}

    def _run(self, saw, hooks):
        """Runs the model with taps at `hooks` alone, and gives `saw` each quantity with its value. Returns the logits."""
        raise NotImplementedError

    def _check_truth(self, logits):
        """Refuses an f64 answer that cannot be vouched for."""

    def _check_rounding(self, logits):
        """The same for one in the precision on trial."""

    def _measure_fused(self):
        """The fused attention shows nothing inside, but the rest."""
        if refusal := switch_attention(self._model, "sdpa"):
            self._report["notes"].append(f"no fused attention among the variants: {refusal}")
            return
        self._run(self._compare, [hook for hook in self._setting.hooks if hook.port not in attention.PORTS])

    def _load(self, dtype):
        self._model = None
        self._model = self._setting.checkpoint.load(dtype, self._setting.attention)

    def _forward(self):
        with self._refusing_inputs():
            return self._model(**self._stimulus.inputs, use_cache=False).logits

    def _refusing_inputs(self):
        return _RefusedInputs(self._setting.checkpoint.model_class, self._stimulus)

    def _keep(self, name, value):
        if value.dtype != torch.float64:
            raise internal(f"`{name}` is {value.dtype} where everything should be f64")
        # A copy, as the model may go on to write into it.
        self._set_truth(name, value.clone(), self._comparable(name, value))

    def _set_truth(self, name, value, comparable):
        self._truth[name] = value
        self.answers[name] = Answer(measure.size(name, comparable), self._stimulus.rows(name))

    def _compare(self, name, value):
        self.answers[name].saw(self._error(name, value))

    def _error(self, name, value):
        truth = self._comparable(name, self._truth[name])
        return measure.difference(name, self._comparable(name, value), truth)

    def _comparable(self, name, value):
        """The entries of a quantity's value that belong to real positions; of a parameter's, all."""
        if name in DERIVED:
            return self._stimulus.comparable_derived(name, value)
        for prefix in (HOOK, HOOK_GRADIENT):
            if name.startswith(prefix):
                return self._stimulus.comparable(value, self._hook[name.removeprefix(prefix)].dims)
        return value

    def _compare_untapped(self, tapped, where, check, allowed):
        """Runs transformers' own attention, without a tap anywhere, and compares the logits `where` they have to agree."""
        untapped, used = self._run_untapped()
        error = checks.same_logits(tapped[where], untapped[where], allowed, f"against {used} attention")
        self._report["checks"][check] = max(self._report["checks"].get(check, 0.0), error)

    @torch.no_grad()
    def _run_untapped(self):
        """Eager attention where the model has it in this precision; some variants insist on f32 by name."""
        refusals = []
        for implementation in ("eager", "sdpa"):
            refusal = switch_attention(self._model, implementation)
            if refusal is None:
                try:
                    return self._forward(), implementation
                except RuntimeError as error:
                    refusal = " ".join(str(error).split())
            refusals.append(f"{implementation}: {refusal}")
        raise internal(f"there is no attention to check the taps against ({'; '.join(refusals)})")

    def _floor(self, name):
        answer = self.answers[name]
        return max(answer.cumulative, roundoff(self._setting.dtype) * answer.rms)

    def _splits(self):
        return () if is_narrow(self._setting.dtype) else _SPLITS


class _RefusedInputs:
    """Says of a token or position that the model does not have what is wrong with it."""

    def __init__(self, model_class, stimulus):
        self._model_class = model_class
        self._stimulus = stimulus

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, IndexError):
            batch, positions = self._stimulus.shape
            raise invalid_input(
                f"{self._model_class} cannot take the input `{self._stimulus.id}` of {batch} x {positions} "
                f"tokens, a token or position is out of its range: {error}"
            ) from error
