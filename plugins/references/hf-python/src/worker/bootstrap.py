"""Imports the worker from its sources, which come as the first frame on standard input, and runs it.

Given to the interpreter with `-c`, so that nothing has to be written to disk and no file can be out of step.
"""
import sys

# With `-c` Python looks into the current folder first; a `torch.py` that happens to lie there is not ours to run.
sys.path[:] = [entry for entry in sys.path if entry]

import importlib.abc
import importlib.util
import json
import os

PACKAGE = "tlbench_worker"


class Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the modules of the worker among the sources, and shows them to tracebacks."""

    def __init__(self, sources):
        self.sources = {PACKAGE + "." + name: text for name, text in sources.items()}
        self.sources[PACKAGE] = ""

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == PACKAGE)

    def is_package(self, name):
        return name == PACKAGE

    def get_source(self, name):
        return self.sources[name]

    def get_code(self, name):
        return self.source_to_code(self.sources[name], name.replace(".", "/") + ".py")


def main():
    # The protocol keeps the pipes to itself: what a library prints goes to standard error, and none can read a frame.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    length = int.from_bytes(incoming.read(4), "little")
    sources = json.loads(incoming.read(length).decode("utf-8"))
    incoming.read(8)
    sys.meta_path.insert(0, Sources(sources))
    importlib.import_module(PACKAGE + ".main").serve(incoming, outgoing)


main()
