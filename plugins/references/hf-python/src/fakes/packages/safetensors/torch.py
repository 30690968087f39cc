"""Where the worker begins to compute."""

import os

from happens import happen


def load(blob):
    happen(os.environ.get("FAKE_WORK"))
    return {}
