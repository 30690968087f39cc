"""Imports a program from its sources, which come in the first frame on standard input, and runs it.

Given to the interpreter with `-S -c`: nothing has to be written to disk, no file can be out of step, and the pipes are
out of reach before anything that somebody installed can print. Older Pythons parse it too, down to 2.7, to say so.
"""
import json
import os
import signal
import struct
import sys
import traceback

PACKAGE = "tlbench_worker"
OLDEST = (3, 9)


def take_pipes():
    """The protocol keeps them to itself: what a library prints goes to standard error, and none can read a frame."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return incoming, outgoing


def read_manifest(incoming):
    (length,) = struct.unpack("<I", incoming.read(4))
    manifest = json.loads(incoming.read(length).decode("utf-8"))
    incoming.read(8)
    return manifest


def refuse(outgoing, remedy):
    """Says that this Python is too old, in a frame."""
    found, oldest = (".".join(str(part) for part in version) for version in (sys.version_info[:3], OLDEST))
    message = "`{}` is Python {}; {} or later is needed: {}".format(sys.executable, found, oldest, remedy)
    error = {"kind": "unsupported", "message": message, "backtrace": None}
    text = json.dumps({"error": error}).encode("ascii")
    outgoing.write(struct.pack("<I", len(text)) + text + struct.pack("<Q", 0))
    outgoing.flush()


def find_modules(sources):
    """Lets the modules of the worker be imported, and shows them to tracebacks."""
    import importlib.abc
    import importlib.util

    class Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
        def find_spec(self, name, path=None, target=None):
            if name not in texts:
                return None
            return importlib.util.spec_from_loader(name, self, is_package=name == PACKAGE)

        def is_package(self, name):
            return name == PACKAGE

        def get_source(self, name):
            return texts[name]

        def get_code(self, name):
            return self.source_to_code(texts[name], name.replace(".", "/") + ".py")

    texts = {PACKAGE + "." + name: text for name, text in sources.items()}
    texts[PACKAGE] = ""
    sys.meta_path.insert(0, Sources())


def find_installed():
    """What Python does by itself without `-S`: site-packages, virtual environments, sitecustomize."""
    import site

    # A `torch.py` that happens to lie in the current folder is not ours to run. That folder is there unasked, and for an
    # empty entry of PYTHONPATH, which a stray colon makes.
    asked = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    unasked = {"", os.getcwd()}.difference(asked)
    sys.path[:] = [entry for entry in sys.path if entry not in unasked]
    site.main()


def run(manifest, incoming, outgoing):
    import faulthandler
    import importlib
    import warnings

    faulthandler.enable()
    # Nobody reads them, and PYTHONWARNINGS may turn them into errors.
    warnings.simplefilter("ignore")
    find_modules(manifest["modules"])
    # From here on it ends with its owner, whatever it is busy with.
    channel = importlib.import_module(PACKAGE + ".channel").Channel(incoming, outgoing)
    find_installed()
    importlib.import_module(PACKAGE + ".serving").serve(channel, manifest)


def main():
    # Ctrl-C goes to every process of a terminal; this one ends with its owner, and in silence.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming, outgoing = take_pipes()
    manifest = read_manifest(incoming)
    if sys.version_info < OLDEST:
        refuse(outgoing, manifest["how_to_choose_another"])
    else:
        run(manifest, incoming, outgoing)


try:
    main()
except BaseException:
    traceback.print_exc()
finally:
    # An orderly end would wait for the thread that reads, and for those of libraries.
    sys.stderr.flush()
    os._exit(1)
