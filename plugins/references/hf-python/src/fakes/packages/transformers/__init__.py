"""As much of transformers' face as the worker looks at before it computes."""

import json
import os
from unittest.mock import MagicMock

import torch
from happens import happen

__version__ = os.environ.get("FAKE_TRANSFORMERS", "5.0.0")

AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, utils = (MagicMock() for _ in range(4))


def is_torch_available():
    return torch.__version__ >= "2.2"


class Config:
    pass


class FakeForCausalLM:
    pass


CONFIG_MAPPING = {"fake": Config, "gpt2": Config}
MODEL_FOR_CAUSAL_LM_MAPPING = {Config: FakeForCausalLM}


class AutoConfig:
    @staticmethod
    def from_pretrained(folder, **options):
        """Makes happen what the config says."""
        with open(os.path.join(folder, "config.json")) as file:
            happen(json.load(file).get("happens"))
        return Config()
