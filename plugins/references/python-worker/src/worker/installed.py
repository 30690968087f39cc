"""What there is to work with."""

import importlib
import importlib.metadata
import os
import platform
import re
import sys
import time

from .protocol import WorkerError, name, unsupported


class Installed:
    """The libraries that a program stands on, as this Python has them."""

    def __init__(self, manifest):
        self._libraries = manifest["libraries"]
        self._how_to_choose = manifest["how_to_choose"]
        self._how_to_choose_another = manifest["how_to_choose_another"]
        # By package, once they are imported.
        self.versions = {}

    def start(self, progress):
        """Imports the libraries and the program; its methods."""
        # Nothing here may reach for the network, whatever the environment says.
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Threads of torch that wait would spin; where others compute as well, that doubles the time of small models.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        started = time.monotonic()
        imported = [self._import(library, progress) for library in self._libraries]
        try:
            methods = importlib.import_module(".main", __package__).start(self, progress)
        except WorkerError:
            raise
        except Exception as error:
            # It may need what an odd release of the last one has not.
            raise _broken(self._libraries[-1]["module"], error) from error
        seconds = time.monotonic() - started
        progress(f"{sys.executable}: {_list(imported)} imported in {seconds:.1f} s")
        return methods

    def outdated(self, what, package):
        """Why this Python will not do, if it has `what` of `package`."""
        remedy = f"run `{sys.executable} -m pip install -U {package}`, or {self._how_to_choose_another}"
        return unsupported(f"`{sys.executable}` has {what}: {remedy}")

    def _import(self, library, progress):
        """Name and version of a library that will do."""
        module, package, oldest = library["module"], library["package"], library["oldest"]
        progress(f"{sys.executable}: importing {module}")
        try:
            found = version(importlib.import_module(module), package)
        except MemoryError:
            raise
        except BaseException as error:
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                raise unsupported(f"`{sys.executable}` has no module `{module}`; {self._how_to_choose}") from error
            raise _broken(module, error) from error
        if oldest is not None and numbers(found) < numbers(oldest):
            raise self.outdated(f"{module} {found}; {oldest} or later is needed", package)
        self.versions[package] = found
        return f"{module} {found}"


def version(module, package):
    """The version of a module as it gives it itself, or as it was installed."""
    try:
        return str(module.__version__)
    except AttributeError:
        return importlib.metadata.version(package)


def numbers(version):
    """The numbers of a version, as a tuple."""
    start = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, start[0].split("."))) if start else ()


def _broken(module, error):
    return unsupported(f"`{sys.executable}` (Python {platform.python_version()}) cannot import `{module}`: {name(error)}")


def _list(names):
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
