"""Checkpoints, as transformers itself loads them."""

import json
import os
import textwrap

import transformers
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

from .protocol import invalid_input, unsupported


class Checkpoint:
    """A model folder whose class transformers knows."""

    def __init__(self, folder):
        self.folder = folder
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
        self.model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__
        # The tensors that transformers did not take; known once it was loaded.
        self.unused = []

    def load(self, dtype, attention):
        """A fresh model, in evaluation mode; refuses one that would be partly random."""
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                self.folder,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
                trust_remote_code=False,
                # Reported below, by name.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            if attention in str(error):
                what = "does not compute attention through transformers' interface"
                raise unsupported(f"{self.model_class} {what}") from error
            raise invalid_input(f"transformers cannot load {self.folder}: {_line(error)}") from error
        if missing := sorted(report["missing_keys"]):
            raise invalid_input(f"the checkpoint has no {_list(missing)}; transformers would draw it at random")
        if mismatched := sorted(report["mismatched_keys"]):
            name, found, expected = mismatched[0]
            raise invalid_input(f"`{name}` is {list(found)} in the checkpoint, and {list(expected)} in the model")
        self.unused = sorted(report["unexpected_keys"])
        return model.eval().requires_grad_(False)


def switch_attention(model, attention):
    """Makes `model` use another implementation; returns why it does not, if so."""
    try:
        model.set_attn_implementation(attention)
    except Exception as error:
        return _line(error)
    chosen = model.config._attn_implementation
    return None if chosen == attention else f"it keeps `{chosen}`"


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


def _list(names):
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _line(error):
    """The gist of an error; transformers appends advice to it."""
    return textwrap.shorten(str(error), 160, placeholder=" ...")
