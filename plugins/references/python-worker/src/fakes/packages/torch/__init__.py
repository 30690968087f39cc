"""As much of torch's face as the worker looks at before it computes."""

import os
from unittest.mock import MagicMock

from happens import happen

__version__ = os.environ.get("FAKE_TORCH", "2.8.0")

happen(os.environ.get("FAKE_IMPORT"))


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return MagicMock()
