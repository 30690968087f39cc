"""Answers with a real f64 truth, and with how far transformers' own f32, bf16 or f16 is from it."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import platform

import torch
import transformers

from . import attention, checks, measure
from .loading import switch_attention
from .precision import SplitContractions, dtype_name, is_narrow, real_double, roundoff
from .protocol import internal, invalid_input, unsupported
from .stimulus import DERIVED, HOOK, LOG_PROBS, LOGITS
from .taps import Instruments

# Sums of every matrix product in pieces: the same function, rounded otherwise. In narrow types each piece would be
# rounded by itself, and the sum be worse than any healthy one.
_SPLITS = (3, 5)
# Nothing follows it but the logits, which are to be the model's own.
_HEAD = "unembed.hook_out"


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


class Recorder:
    """Asks one checkpoint."""

    def __init__(self, checkpoint, hooks, dtype, progress):
        torch.use_deterministic_algorithms(True, warn_only=True)
        attention.register()
        self._checkpoint = checkpoint
        self._hooks = hooks
        self._dtype = dtype
        self._progress = progress
        inside = any(hook.port in attention.PORTS for hook in hooks)
        self._attention = attention.NAME if inside else "eager"

    def provenance(self):
        """Where the answers come from."""
        return {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "model_class": self._checkpoint.model_class,
            "attention": "eager, observed through the attention interface" if self._inside else "eager",
            "threads": str(torch.get_num_threads()),
            "machine": platform.machine(),
        }

    def record(self, stimuli, seed):
        """The report, and the truth of what was asked for, rounded once to f32."""
        torch.manual_seed(seed)
        report = {"answers": {}, "checks": {}, "notes": []}
        tensors = {}
        for index, stimulus in enumerate(stimuli):
            self._check_wanted(stimulus)
            asking = _Asking(
                self._checkpoint, self._attention, self._hooks, self._dtype, stimulus, report, self._progress
            )
            asking.find_truth(seed if index == 0 else None)
            gc.collect()
            asking.measure_rounding()
            report["answers"][stimulus.id] = {name: vars(answer) for name, answer in asking.answers.items()}
            tensors |= {f"{stimulus.id}/{name}": value for name, value in asking.rounded().items()}
        if unused := self._checkpoint.unused:
            report["notes"].append(f"transformers does not take {len(unused)} tensors, `{unused[0]}` among them")
        report["notes"] = sorted(set(report["notes"]))
        return report, tensors

    @property
    def _inside(self):
        return self._attention == attention.NAME

    def _check_wanted(self, stimulus):
        observable = {HOOK + hook.name for hook in self._hooks} | set(DERIVED)
        for name in stimulus.quantities:
            if name not in observable:
                shown = name.removeprefix(HOOK)
                raise unsupported(f"{self._checkpoint.model_class} in transformers does not show `{shown}`")


class _Asking:
    """One stimulus: a fresh model for each precision, since some keep state between calls."""

    def __init__(self, checkpoint, implementation, hooks, dtype, stimulus, report, progress):
        self._checkpoint = checkpoint
        self._attention = implementation
        self._hooks = hooks
        self._dtype = dtype
        self._stimulus = stimulus
        self._report = report
        self._progress = lambda what: progress(f"{stimulus.id}: {what}")
        self._forms = {}
        self._truth = {}
        self._model = None
        self.answers = {}

    def find_truth(self, seed):
        """Runs the model in f64; with a seed, its derivatives are checked as well."""
        self._progress("computing the truth in f64")
        with real_double():
            self._load(torch.float64)
            logits = self._run(self._hooks, self._keep)
            for name, value in self._stimulus.derived(logits).items():
                self._set_truth(name, value, self._stimulus.comparable_derived(name, value))
            if seed is not None:
                self._progress("checking derivatives")
                self._report["checks"]["finite_differences"] = checks.finite_differences(
                    self._forward, self._model, self._stimulus, seed
                )
                self._load(torch.float64)
            self._compare_untapped(logits, "tapped_logits_f64", checks.SAME * self.answers[LOGITS].rms)
        self._model = None

    def measure_rounding(self):
        """Runs variants of the model in the precision on trial."""
        name = dtype_name(self._dtype)
        self._progress(f"measuring rounding in {name}")
        self._load(self._dtype)
        logits = self._run(self._hooks, self._compare)
        self._compare_derived(logits)
        for parts in self._splits():
            with SplitContractions(parts):
                self._compare_derived(self._run(self._hooks, self._compare))
        self._measure_locally()
        self._compare_untapped(logits, f"tapped_logits_{name}", checks.CLOSE * self._floor(LOGITS))
        self._measure_fused()
        self._model = None

    def rounded(self):
        """What was asked for, rounded once."""
        return {name: self._truth[name].to(torch.float32).contiguous() for name in self._stimulus.quantities}

    def _load(self, dtype):
        self._model = None
        self._model = self._checkpoint.load(dtype, self._attention)

    def _forward(self):
        try:
            return self._model(**self._stimulus.inputs, use_cache=False).logits
        except IndexError as error:
            batch, positions = self._stimulus.shape
            raise invalid_input(
                f"{self._checkpoint.model_class} cannot take the input `{self._stimulus.id}` of {batch} x {positions} "
                f"tokens, a token or position is out of its range: {error}"
            ) from error

    @torch.no_grad()
    def _run(self, hooks, observe):
        with Instruments(self._model, self._stimulus.shape, hooks, self._forms, observe):
            return self._forward()

    def _keep(self, hook, value):
        if value.dtype != torch.float64:
            raise internal(f"`{hook.name}` is {value.dtype} where everything should be f64")
        # A copy, as the model may go on to write into it.
        self._set_truth(HOOK + hook.name, value.clone(), self._comparable(hook, value))

    def _set_truth(self, name, value, comparable):
        self._truth[name] = value
        self.answers[name] = Answer(measure.size(name, comparable), self._stimulus.rows(name))

    def _comparable(self, hook, value):
        return self._stimulus.comparable(value, hook.dims)

    def _error(self, hook, value):
        truth = self._truth[HOOK + hook.name]
        return measure.difference(hook.name, self._comparable(hook, value), self._comparable(hook, truth))

    def _compare(self, hook, value):
        self.answers[HOOK + hook.name].saw(self._error(hook, value))

    def _compare_derived(self, logits):
        for name, error in self._derived_errors(logits):
            self.answers[name].saw(error)

    def _derived_errors(self, logits):
        for name, value in self._stimulus.derived(logits).items():
            truth = self._stimulus.comparable_derived(name, self._truth[name])
            yield name, measure.difference(name, self._stimulus.comparable_derived(name, value), truth)

    def _measure_locally(self):
        """Overwrites every wanted hook with the truth once it was seen, so that errors do not add up."""
        wanted = [hook for hook in self._hooks if hook.name in self._stimulus.hooks]
        if not wanted:
            return

        def overwrite(hook, value):
            self.answers[HOOK + hook.name].saw_locally(self._error(hook, value))
            # As it was handed out; writing it rounds it to what the model computes in.
            return None if hook.name == _HEAD else self._truth[HOOK + hook.name].to(torch.float32)

        for mode in (contextlib.nullcontext(), *map(SplitContractions, self._splits())):
            with mode:
                logits = self._run(wanted, overwrite)
            for name, error in self._derived_errors(logits):
                if name in (LOGITS, LOG_PROBS):
                    self.answers[name].saw_locally(error)

    def _measure_fused(self):
        """The fused attention shows nothing inside, but the rest."""
        if refusal := switch_attention(self._model, "sdpa"):
            self._report["notes"].append(f"no fused attention among the variants: {refusal}")
            return
        visible = [hook for hook in self._hooks if hook.port not in attention.PORTS]
        self._compare_derived(self._run(visible, self._compare))

    def _compare_untapped(self, tapped, check, allowed):
        """Runs transformers' own attention, without a tap anywhere."""
        untapped, used = self._run_untapped()
        real = self._stimulus.real
        error = checks.same_logits(tapped[real], untapped[real], allowed, f"against {used} attention")
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
        return max(answer.cumulative, roundoff(self._dtype) * answer.rms)

    def _splits(self):
        return () if is_narrow(self._dtype) else _SPLITS
