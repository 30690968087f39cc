"""Frames, both ways: u32 length of a JSON text, the text, u64 length of a safetensors blob (0: none), the blob.

Lengths are little-endian. A request is `{"method": .., "params": {..}}`. Its reply is `{"ok": ..}` or
`{"error": {"kind", "message", "backtrace"}}`, after any number of `{"progress": ".."}`.
"""

import sys
import traceback

VERSION = 1


class WorkerError(Exception):
    """What a request can fail with; the kinds are those of the plugin boundary."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def unsupported(message):
    """The question does not apply, or the answer is not to be had here."""
    return WorkerError("unsupported", message)


def missing(message):
    """There should be an answer, and there is none: of a model on trial a failure."""
    return WorkerError("missing", message)


def invalid_input(message):
    """A checkpoint, a tap or a request is wrong."""
    return WorkerError("invalid_input", message)


def internal(message):
    """The worker is wrong, or cannot vouch for its answer."""
    return WorkerError("internal", message)


def describe(error):
    """The reply that reports an exception, whatever it is."""
    if (reason := _out_of_memory(error)) is not None:
        kind, message = "io", f"`{sys.executable}` ran out of memory: {reason}"
    elif isinstance(error, WorkerError):
        kind, message = error.kind, str(error)
    else:
        kind, message = "internal", name(error)
    known = isinstance(error, WorkerError)
    trace = None if known else "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"error": {"kind": kind, "message": message, "backtrace": trace}}


def name(error):
    """An exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def _out_of_memory(error):
    """What was refused, if memory is what this comes from; on the CPU torch has no type for that."""
    reason = None
    while error is not None:
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or "Cannot allocate memory" in text:
            # A place in torch's sources stands before it.
            reason = text[max(text.find("DefaultCPUAllocator"), 0) :] or name(error)
        error = error.__cause__
    return reason
