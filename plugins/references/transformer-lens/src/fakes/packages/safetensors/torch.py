"""Where the worker begins to compute."""

import json
import struct
from unittest.mock import MagicMock


def load(blob):
    """Tensors that are none, by the names in the header."""
    (length,) = struct.unpack("<Q", blob[:8])
    return {name: MagicMock() for name in json.loads(blob[8 : 8 + length]) if name != "__metadata__"}


def save(values):
    return b""
