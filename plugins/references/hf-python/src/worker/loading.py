"""Checkpoints, as transformers itself loads them."""

import json
import os
import textwrap
import time

import transformers
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

from . import attention
from .installed import numbers
from .protocol import invalid_input, unsupported

# How `from_pretrained` calls the precision.
_DTYPE = "dtype" if numbers(transformers.__version__) >= (4, 56) else "torch_dtype"


class Checkpoint:
    """A model folder whose class transformers knows."""

    def __init__(self, folder, progress):
        self.folder = folder
        self._progress = progress
        # The precisions in which it was loaded before.
        self._loaded = set()
        self.model_type = _model_type(os.path.join(folder, "config.json"))
        if self.model_type not in CONFIG_MAPPING:
            version = transformers.__version__
            raise unsupported(f"transformers {version} does not know the model type `{self.model_type}`")
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise invalid_input(f"transformers rejects {folder}/config.json: {_line(error)}") from error
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise unsupported(f"transformers has no causal language model for the model type `{self.model_type}`")
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        self.model_class = model_class.__name__
        self.uses_attention_interface = attention.uses_interface(model_class)
        # The tensors that transformers did not take; known once it was loaded.
        self.unused = []

    def load(self, dtype, attention_function):
        """A fresh model, in evaluation mode; refuses one that would be partly random."""
        started = time.monotonic()
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                self.folder,
                **{_DTYPE: dtype},
                attn_implementation=attention_function,
                local_files_only=True,
                trust_remote_code=False,
                # Reported below, by name.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            if attention_function in str(error):
                what = "does not compute attention through transformers' interface"
                raise unsupported(f"{self.model_class} {what}") from error
            raise invalid_input(f"transformers cannot load {self.folder}: {_line(error)}") from error
        if missing := sorted(report["missing_keys"]):
            raise invalid_input(f"the checkpoint has no {_list(missing)}; transformers would draw it at random")
        if mismatched := sorted(report["mismatched_keys"]):
            raise invalid_input(_mismatch(mismatched[0], model))
        self.unused = sorted(report["unexpected_keys"])
        self._tell(dtype, time.monotonic() - started)
        _compute_experts_one_by_one(model)
        return model.eval().requires_grad_(False)

    def _tell(self, dtype, seconds):
        """How long loading took; every input takes a fresh model, so once for each precision is enough."""
        if dtype not in self._loaded:
            self._loaded.add(dtype)
            self._progress(f"{self.model_class} loaded as {str(dtype).removeprefix('torch.')} in {seconds:.1f} s")


def switch_attention(model, implementation):
    """Makes `model` use another implementation; returns why it does not, if so."""
    try:
        model.set_attn_implementation(implementation)
    except Exception as error:
        return _line(error)
    chosen = model.config._attn_implementation
    return None if chosen == implementation else f"it keeps `{chosen}`"


def _compute_experts_one_by_one(model):
    """Grouped products are fast, but sums that nobody can split. Before 5, there is nothing else."""
    if getattr(type(model), "_can_set_experts_implementation", bool)():
        model.set_experts_implementation("eager")


def _model_type(path):
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except OSError as error:
        raise invalid_input(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise invalid_input(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise invalid_input(f"{path} has no text under `model_type`")
    return config["model_type"]


def _mismatch(mismatched, model):
    """Before 5, transformers gives the name alone."""
    if isinstance(mismatched, str):
        expected = list(model.state_dict()[mismatched].shape)
        return f"`{mismatched}` is {expected} in the model, and of another shape in the checkpoint"
    name, found, expected = mismatched
    return f"`{name}` is {list(found)} in the checkpoint, and {list(expected)} in the model"


def _list(names):
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _line(error):
    """The gist of an error; transformers appends advice to it."""
    return textwrap.shorten(str(error), 160, placeholder=" ...")
