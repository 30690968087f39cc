"""Answers requests until the other side hangs up."""

import gc

from .installed import Installed
from .protocol import VERSION, describe, invalid_input


def serve(channel, manifest):
    """Says hello, or why it cannot work here; then answers."""
    try:
        methods = Installed(manifest).start(channel.progress)
    except BaseException as error:
        channel.send(describe(error))
        return
    channel.send({"ok": {"protocol": VERSION}})
    while True:
        message, blob = channel.receive()
        try:
            answer, blob = _find(methods, message["method"])(message["params"], blob)
            channel.send({"ok": answer}, blob)
        except BaseException as error:
            channel.send(describe(error))
        # Before the next model needs the memory.
        gc.collect()


def _find(methods, method):
    if method not in methods:
        raise invalid_input(f"there is no method `{method}`")
    return methods[method]
