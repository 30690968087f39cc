"""The two pipes, which carry the frames of `protocol`."""

import faulthandler
import json
import os
import queue
import struct
import threading


class Channel:
    """The two pipes. The process ends with the one that requests come from."""

    def __init__(self, incoming, outgoing):
        self._outgoing = outgoing
        self._requests = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(incoming,), daemon=True).start()

    def receive(self):
        """The next message and its blob."""
        text, blob = self._requests.get()
        return json.loads(text), blob

    def send(self, message, blob=b""):
        text = json.dumps(message, allow_nan=False).encode()
        self._outgoing.write(struct.pack("<I", len(text)) + text + struct.pack("<Q", len(blob)))
        self._outgoing.write(blob)
        self._outgoing.flush()

    def progress(self, message):
        self.send({"progress": message})

    def _listen(self, incoming):
        """Reads on while the main thread works: this is how the process learns that nobody waits for it any more."""
        try:
            while True:
                text = _read(incoming, struct.unpack("<I", _read(incoming, 4))[0])
                self._requests.put((text, _read(incoming, struct.unpack("<Q", _read(incoming, 8))[0])))
        finally:
            # For one who hung up because nothing was heard: where this process is.
            faulthandler.dump_traceback()
            os._exit(0)


def _read(incoming, length):
    data = incoming.read(length)
    if len(data) < length:
        raise EOFError("the other side has hung up")
    return data
