"""Answers requests until the other side hangs up."""

import os
import platform
import sys

from .protocol import VERSION, Channel, WorkerError, invalid_input, unsupported


def serve(incoming, outgoing):
    """Says hello, or why it cannot work here; then answers."""
    channel = Channel(incoming, outgoing)
    try:
        hello = greet()
    except WorkerError as error:
        channel.fail(error)
        return
    channel.send({"ok": hello})
    worker = Worker(channel)
    while (request := channel.receive()) is not None:
        message, blob = request
        if message["method"] == "shutdown":
            channel.send({"ok": {}})
            return
        try:
            channel.send(*worker.answer(message["method"], message.get("params", {}), blob))
        except Exception as error:
            channel.fail(error)


def greet():
    """What there is to work with."""
    # Nothing here may reach for the network, whatever the environment says.
    os.environ["HF_HUB_OFFLINE"] = "1"
    versions = {"protocol": VERSION, "python": platform.python_version()}
    for name in ("torch", "transformers"):
        try:
            versions[name] = str(__import__(name).__version__)
        except ModuleNotFoundError as error:
            raise unsupported(
                f"`{sys.executable}` has no module `{error.name}`; name a Python that has torch and transformers "
                "in TLBENCH_PYTHON, or as `python` among the options of this reference"
            ) from error
        except Exception as error:
            reason = " ".join(str(error).split())
            raise unsupported(f"`{sys.executable}` cannot import `{name}`: {reason}") from error
    if int(versions["transformers"].split(".")[0]) < 5:
        raise unsupported(
            f"`{sys.executable}` has transformers {versions['transformers']}; 5 or later is needed to see attention"
        )
    return versions


class Worker:
    """One checkpoint at a time."""

    def __init__(self, channel):
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._channel = channel
        self._recorder = None

    def answer(self, method, params, blob):
        """The reply to one request, and its blob."""
        if method == "open":
            return {"ok": self._open(params)}, b""
        if method == "record":
            return self._record(params, blob)
        raise invalid_input(f"there is no method `{method}`")

    def _open(self, params):
        from .loading import Checkpoint
        from .precision import parse_dtype
        from .record import Recorder
        from .taps import parse_hooks

        dtype = parse_dtype(params["dtype"])
        checkpoint = Checkpoint(params["model"])
        self._recorder = Recorder(checkpoint, parse_hooks(params["hooks"]), dtype, self._channel.progress)
        return self._recorder.provenance()

    def _record(self, params, blob):
        import safetensors.torch

        from .stimulus import parse_stimuli

        if self._recorder is None:
            raise invalid_input("no checkpoint is open")
        stimuli = parse_stimuli(params["stimuli"], safetensors.torch.load(blob) if blob else {})
        report, tensors = self._recorder.record(stimuli, params["seed"])
        return {"ok": report}, safetensors.torch.save(tensors)
