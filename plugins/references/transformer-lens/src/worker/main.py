"""What can be asked of TransformerLens."""

import importlib

from .protocol import invalid_input, unsupported

_APIS = {"hooked": "HookedTransformer", "bridge": "TransformerBridge"}


def start(installed, progress):
    """The methods."""
    worker = Worker(installed, progress)
    return {"open": worker.open, "answer": worker.answer}


class Worker:
    """One checkpoint at a time."""

    def __init__(self, installed, progress):
        self._versions = installed.versions
        self._progress = progress
        self._answers = None

    def open(self, params, blob):
        import safetensors.torch

        from .answer import Answers
        from .checkpoint import Checkpoint

        # Before the next one takes as much memory.
        self._answers = None
        name, load = self._model(params["apis"])
        checkpoint = Checkpoint(params, safetensors.torch.load(blob))
        self._answers = Answers(name, load, checkpoint, params["hooks"])
        provenance = {"api": name, **self._versions}
        self._progress(f"{name} of transformer-lens {self._versions['transformer-lens']}")
        return {"provenance": provenance, "firings": self._answers.firings(params["dtype"])}, b""

    def answer(self, params, blob):
        import safetensors.torch

        if self._answers is None:
            raise invalid_input("no checkpoint is open")
        return {}, safetensors.torch.save(self._answers.answer(params, safetensors.torch.load(blob)))

    def _model(self, apis):
        """The class of the first of `apis` that this release has: its name, and what loads it."""
        lacking = []
        for api in apis:
            try:
                return _APIS[api], importlib.import_module(f".{api}", __package__).load
            except ImportError as error:
                lacking.append(f"no {_APIS[api]} ({' '.join(str(error).split())})")
        raise unsupported(f"transformer-lens {self._versions['transformer-lens']} has {', and '.join(lacking)}")
