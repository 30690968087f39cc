"""Flags without which some hooks do not fire."""

import contextlib


@contextlib.contextmanager
def switched(model, flags):
    """TransformerLens's `model` with these on."""
    try:
        for flag in flags:
            getattr(model, f"set_use_{flag}")(True)
        yield
    finally:
        for flag in flags:
            getattr(model, f"set_use_{flag}")(False)
