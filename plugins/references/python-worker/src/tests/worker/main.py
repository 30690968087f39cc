"""Lets happen what it is told to."""

import os

from happens import happen


def start(installed, progress):
    happen(os.environ.get("FAKE_PROGRAM"))
    return {"happen": _happen}


def _happen(params, blob):
    happen(params["happens"] or os.environ.get("FAKE_WORK"))
    return {"happened": True}, blob
