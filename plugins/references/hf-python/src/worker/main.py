"""Answers requests until the other side hangs up."""

import gc

from .installed import import_all
from .protocol import VERSION, describe, invalid_input, unsupported


def serve(channel):
    """Says hello, or why it cannot work here; then answers."""
    try:
        import_all(channel.progress)
    except BaseException as error:
        channel.send(describe(error))
        return
    channel.send({"ok": {"protocol": VERSION}})
    worker = Worker(channel)
    while True:
        message, blob = channel.receive()
        try:
            channel.send(*worker.answer(message["method"], message["params"], blob))
        except BaseException as error:
            channel.send(describe(error))
        # Before the next model needs the memory.
        gc.collect()


class Worker:
    """One checkpoint at a time; nothing of one is left when the next is opened."""

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
        from .precision import DTYPES
        from .record import Recorder
        from .taps import parse_hooks

        dtype = DTYPES.get(params["dtype"])
        if dtype is None:
            raise unsupported(f"rounding is measured in {', '.join(DTYPES)}, not in {params['dtype']}")
        self._recorder = None
        checkpoint = Checkpoint(params["model"], self._channel.progress)
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
