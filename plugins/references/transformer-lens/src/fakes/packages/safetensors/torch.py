"""Where the worker begins to compute."""

import collections
from unittest.mock import MagicMock


def load(blob):
    """A tensor of every name."""
    return collections.defaultdict(MagicMock)


def save(values):
    return b""
