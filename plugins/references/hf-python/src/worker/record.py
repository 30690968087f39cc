"""Answers with a real f64 truth, and with how far transformers' own f32, bf16 or f16 is from it."""

import gc
import platform

import torch
import transformers

from . import attention
from .altered import Altered
from .asking import Setting
from .cached import Chunked, Generating
from .plain import Plain
from .protocol import unsupported
from .stimulus import DERIVED, GENERATED, HOOK, HOOK_GRADIENT, PARAMETER_GRADIENT


_INTERFACE = "observed through the attention interface"
_OPERATIONS = "observed at its operations"


class Recorder:
    """Asks one checkpoint."""

    def __init__(self, checkpoint, hooks, dtype, progress):
        torch.use_deterministic_algorithms(True, warn_only=True)
        attention.register()
        self._observed = _how_observed(checkpoint, hooks)
        self._checkpoint = checkpoint
        function = attention.NAME if self._observed == _INTERFACE else "eager"
        self._setting = Setting(checkpoint, function, hooks, dtype, progress)
        # Derivatives are checked once, with the first question.
        self._is_checked = False

    def provenance(self):
        """Where the answers come from."""
        return {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "model_class": self._checkpoint.model_class,
            "attention": f"eager, {self._observed}" if self._observed else "eager",
            "threads": str(torch.get_num_threads()),
            "machine": platform.machine(),
        }

    def record(self, stimuli, seed):
        """The report, and the truth of what was asked for, rounded once to f32."""
        torch.manual_seed(seed)
        report = {"answers": {}, "checks": {}, "notes": []}
        tensors = {}
        for stimulus in stimuli:
            self._check_wanted(stimulus)
            asking = _kind(stimulus)(self._setting, stimulus, report)
            asking.find_truth(None if self._is_checked else seed)
            self._is_checked = True
            gc.collect()
            asking.measure_rounding()
            report["answers"][stimulus.id] = {name: vars(answer) for name, answer in asking.answers.items()}
            tensors |= {f"{stimulus.id}/{name}": value for name, value in asking.rounded().items()}
        if unused := self._checkpoint.unused:
            report["notes"].append(f"transformers does not take {len(unused)} tensors, `{unused[0]}` among them")
        report["notes"] = sorted(set(report["notes"]))
        return report, tensors

    def _check_wanted(self, stimulus):
        hooks = {hook.name for hook in self._setting.hooks}
        for edit in stimulus.edits:
            if edit.target != "hook":
                raise unsupported(
                    f"`{stimulus.id}` edits a {edit.target}, and transformers' values are edited at hooks alone"
                )
            if edit.name not in hooks:
                raise self._hidden(edit.name)
        if stimulus.generate is not None:
            shown = {GENERATED}
        else:
            shown = set(DERIVED)
            if not stimulus.chunks:
                shown |= {HOOK + name for name in hooks}
            if stimulus.objective is not None:
                shown |= {HOOK_GRADIENT + name for name in hooks}
        for name in stimulus.quantities:
            # Whether a parameter is there shows when the model is.
            is_parameter = stimulus.objective is not None and name.startswith(PARAMETER_GRADIENT)
            if name not in shown and not is_parameter:
                raise self._hidden(name.removeprefix(HOOK))

    def _hidden(self, name):
        return unsupported(f"{self._checkpoint.model_class} in transformers does not show `{name}`")


def _how_observed(checkpoint, hooks):
    """How one sees inside of attention, if anybody looks there."""
    if not any(hook.port in attention.PORTS for hook in hooks):
        return None
    return _INTERFACE if checkpoint.uses_attention_interface else _OPERATIONS


def _kind(stimulus):
    """How a question is asked."""
    if stimulus.generate is not None:
        return Generating
    if stimulus.chunks:
        return Chunked
    return Altered if stimulus.edits or stimulus.objective is not None else Plain
