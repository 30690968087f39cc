"""What can be asked of TransformerLens."""

from .protocol import invalid_input, unsupported


def start(installed, progress):
    """The methods."""
    worker = Worker(progress)
    return {"open": worker.open, "answer": worker.answer}


class Worker:
    """One checkpoint at a time."""

    def __init__(self, progress):
        self._progress = progress
        self._answers = None

    def open(self, params, blob):
        import importlib.metadata

        import safetensors.torch

        from .answer import Answers
        from .checkpoint import Checkpoint

        # Before the next one takes as much memory.
        self._answers = None
        name, load = _model(params["apis"])
        checkpoint = Checkpoint(params, safetensors.torch.load(blob))
        self._answers = Answers(name, load, checkpoint, params["hooks"])
        versions = {package: importlib.metadata.version(package) for package in ("transformer-lens", "transformers", "torch")}
        self._progress(f"{name} of transformer-lens {versions['transformer-lens']}")
        provenance = {"api": name, **versions}
        return {"provenance": provenance, "firings": self._answers.firings(params["dtype"])}, b""

    def answer(self, params, blob):
        import safetensors.torch

        if self._answers is None:
            raise invalid_input("no checkpoint is open")
        return {}, safetensors.torch.save(self._answers.answer(params, safetensors.torch.load(blob)))


_APIS = {"hooked": "HookedTransformer", "bridge": "TransformerBridge"}


def _model(apis):
    """The class of the first of `apis` that this release has: its name, and what loads it."""
    import importlib
    import importlib.metadata

    lacking = []
    for api in apis:
        try:
            return _APIS[api], importlib.import_module(f".{api}", __package__).load
        except ImportError as error:
            lacking.append(f"no {_APIS[api]} ({' '.join(str(error).split())})")
    release = importlib.metadata.version("transformer-lens")
    raise unsupported(f"transformer-lens {release} has {', and '.join(lacking)}")
