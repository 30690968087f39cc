"""Frames, both ways: u32 length of a JSON text, the text, u64 length of a safetensors blob (0: none), the blob.

Lengths are little-endian. A request is `{"method": .., "params": {..}}`. Its reply is `{"ok": ..}` or
`{"error": {"kind", "message", "backtrace"}}`, after any number of `{"progress": ".."}`.
"""

import json
import struct
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


def invalid_input(message):
    """A checkpoint, a tap or a request is wrong."""
    return WorkerError("invalid_input", message)


def internal(message):
    """The worker is wrong, or cannot vouch for its answer."""
    return WorkerError("internal", message)


class Channel:
    """The two pipes."""

    def __init__(self, incoming, outgoing):
        self._incoming = incoming
        self._outgoing = outgoing

    def receive(self):
        """The next message and its blob, or None when the other side has hung up."""
        head = self._incoming.read(4)
        if len(head) < 4:
            return None
        text = self._read(struct.unpack("<I", head)[0])
        blob = self._read(struct.unpack("<Q", self._read(8))[0])
        return json.loads(text), blob

    def send(self, message, blob=b""):
        text = json.dumps(message, allow_nan=False).encode()
        self._outgoing.write(struct.pack("<I", len(text)) + text + struct.pack("<Q", len(blob)))
        self._outgoing.write(blob)
        self._outgoing.flush()

    def progress(self, message):
        self.send({"progress": message})

    def fail(self, error):
        """Reports an exception, whatever it is."""
        known = isinstance(error, WorkerError)
        message = str(error) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
        trace = None if known else "".join(traceback.format_exception(type(error), error, error.__traceback__))
        kind = error.kind if known else "internal"
        self.send({"error": {"kind": kind, "message": message, "backtrace": trace}})

    def _read(self, length):
        data = self._incoming.read(length)
        if len(data) < length:
            raise EOFError("the frame ends early")
        return data
