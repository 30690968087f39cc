"""What there is to work with."""

import importlib
import os
import platform
import re
import sys
import time

from .protocol import name, unsupported

# The first in which every family, GPT-2 included, takes its mask from the attention interface. Before that a model's
# own attention adds the causal mask, and one that is put in its place is silently not causal.
OLDEST_TRANSFORMERS = (4, 54, 1)

_REMEDY = "or name another Python in TLBENCH_PYTHON, or as `python` among the options of this reference"


def import_all(progress):
    """Imports torch, transformers, and what of the worker stands on them."""
    # Nothing here may reach for the network, whatever the environment says.
    os.environ["HF_HUB_OFFLINE"] = "1"
    started = time.monotonic()
    torch = _import("torch", progress)
    transformers = _import("transformers", progress)
    if release(transformers) < OLDEST_TRANSFORMERS:
        oldest = ".".join(map(str, OLDEST_TRANSFORMERS))
        raise _outdated(f"transformers {transformers.__version__}; {oldest} or later is needed", "transformers")
    if not transformers.is_torch_available():
        raise _outdated(f"torch {torch.__version__}, which transformers {transformers.__version__} refuses", "torch")
    try:
        importlib.import_module(".record", __package__)
    except Exception as error:
        raise _broken("transformers", error) from error
    seconds = time.monotonic() - started
    progress(
        f"{sys.executable}: torch {torch.__version__} and transformers {transformers.__version__} "
        f"imported in {seconds:.1f} s"
    )


def release(module):
    """The numbers of a version, as a tuple."""
    numbers = re.match(r"\d+(\.\d+)*", str(module.__version__))
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def _import(module, progress):
    progress(f"{sys.executable}: importing {module}")
    try:
        imported = importlib.import_module(module)
        imported.__version__
    except MemoryError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise unsupported(
                f"`{sys.executable}` has no module `{module}`; name a Python that has torch and transformers "
                "in TLBENCH_PYTHON, or as `python` among the options of this reference"
            ) from error
        raise _broken(module, error) from error
    return imported


def _broken(module, error):
    return unsupported(f"`{sys.executable}` (Python {platform.python_version()}) cannot import `{module}`: {name(error)}")


def _outdated(what, package):
    return unsupported(f"`{sys.executable}` has {what}: run `{sys.executable} -m pip install -U {package}`, {_REMEDY}")
