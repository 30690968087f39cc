"""What can be asked of transformers."""

import importlib

import torch
import transformers

from .protocol import invalid_input, unsupported


def start(installed, progress):
    """The methods, once torch and transformers get on with each other."""
    if not transformers.is_torch_available():
        raise installed.outdated(
            f"torch {torch.__version__}, which transformers {transformers.__version__} refuses", "torch"
        )
    # What stands on the libraries fails here, rather than at the first question.
    importlib.import_module(".record", __package__)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    worker = Worker(progress)
    return {"open": worker.open, "record": worker.record}


class Worker:
    """One checkpoint at a time; nothing of one is left when the next is opened."""

    def __init__(self, progress):
        self._progress = progress
        self._recorder = None

    def open(self, params, blob):
        from .loading import Checkpoint
        from .precision import DTYPES
        from .record import Recorder
        from .taps import parse_hooks

        dtype = DTYPES.get(params["dtype"])
        if dtype is None:
            raise unsupported(f"rounding is measured in {', '.join(DTYPES)}, not in {params['dtype']}")
        self._recorder = None
        checkpoint = Checkpoint(params["model"], self._progress)
        self._recorder = Recorder(checkpoint, parse_hooks(params["hooks"]), dtype, self._progress)
        return self._recorder.provenance(), b""

    def record(self, params, blob):
        import safetensors.torch

        from .stimulus import parse_stimuli

        if self._recorder is None:
            raise invalid_input("no checkpoint is open")
        stimuli = parse_stimuli(params["stimuli"], safetensors.torch.load(blob) if blob else {})
        report, tensors = self._recorder.record(stimuli, params["seed"])
        return report, safetensors.torch.save(tensors)
