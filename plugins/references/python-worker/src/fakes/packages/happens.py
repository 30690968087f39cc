"""What can go wrong in a library, by name."""

import ctypes
import os
import signal
import subprocess
import sys
import time


def prints():
    """To both streams, from Python, from C and from a child, and reads what it can get."""
    print("a banner", flush=True)
    print("a warning", file=sys.stderr)
    os.write(1, b"raw bytes\n")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "from a child"], check=True)
    assert sys.stdin.read() == "" and os.read(0, 1) == b""


def hangs():
    time.sleep(600)


def spins():
    while True:
        pass


def exits():
    sys.exit(3)


def dies():
    os._exit(3)


def crashes():
    signal.raise_signal(signal.SIGSEGV)


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def lacks_memory():
    bytearray(1 << 60)


def lacks_memory_in_torch():
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4096 bytes. Error code 12 (Cannot allocate memory)"
    )


def lacks_memory_for_a_file():
    raise RuntimeError("unable to mmap 432792192 bytes from file </model.safetensors>: Cannot allocate memory (12)")


def is_broken():
    raise ImportError("libcudart.so.13: cannot open shared object file:\n  No such file or directory")


def is_missing():
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def lacks_another():
    raise ModuleNotFoundError("No module named 'numpy'", name="numpy")


def happen(name):
    """Makes it happen, if there is a name, and leaves a file that says so."""
    if not name:
        return
    if path := os.environ.get("FAKE_LOG"):
        with open(path, "w") as log:
            log.write(name)
    globals()[name]()
