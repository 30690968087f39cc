"""As much of TransformerLens's face as the worker looks at; releases from 4 on have no HookedTransformer."""

import os
from unittest.mock import MagicMock

__version__ = os.environ.get("FAKE_TRANSFORMER_LENS", "4.3.0")

if __version__ < "4":
    HookedTransformer, HookedTransformerConfig = MagicMock(), MagicMock()
