"""Writes the seeds of the fuzz targets that are no plain text; needs gcc, and nothing beside Python's own library.

    python3 core/fuzz/make_seeds.py
"""

import json
import struct
import subprocess
import tempfile
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
SIZES = {"F32": 4, "BF16": 2, "I64": 8, "U8": 1}


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape) in tensors.items():
        elements = 1
        for size in shape:
            elements *= size
        end = len(data) + elements * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), end]}
        data += bytes(range(end - len(data)))
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def recording():
    inputs = {f"0/inputs/{name}": ("I64", [1, 2]) for name in ("attention_mask", "input_ids", "position_ids")}
    layout = {
        "format": 3,
        "provenance": {"transformers": "5"},
        "config_digest": "sha256:0",
        "weights_digest": "sha256:1",
        "answers": [
            {
                "id": "text",
                "request": {"capture": ["hook:hook_embed", "logits"]},
                "floors": {
                    "f32": {
                        "logits": {"cumulative": 1e-7, "local": 1e-8},
                        "hook:hook_embed": {"cumulative": 1e-7, "local": 1e-8},
                        "log_probs": {"cumulative": 1e-7, "local": 0.0},
                    },
                    "bf16": {},
                },
            }
        ],
    }
    tensors = inputs | {"0/value/hook:hook_embed": ("F32", [1, 2, 2]), "0/value/logits": ("F32", [1, 2, 3])}
    return safetensors(tensors, {"tlbench_recording": json.dumps(layout, separators=(",", ":"))})


def plugin():
    """A library with nothing but a stamp, as core/sdk/src/abi/stamp.rs lays it out."""
    stamp = b"tlbench plugin\0\x01" + struct.pack("<4I", 1, 64, 1, 0)
    for text, size in ((b"0.1.0", 32), (b"rustc 1.95.0", 96), (b"x86_64-unknown-linux-gnu", 64)):
        stamp += text.ljust(size, b"\0")
    source = f"const unsigned char TLBENCH_PLUGIN_STAMP[] = {{{','.join(map(str, stamp))}}};"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "plugin.so"
        flags = ["-shared", "-nostdlib", "-s", "-Wl,--build-id=none,--hash-style=sysv,-z,max-page-size=256,-z,noseparate-code"]
        subprocess.run(["gcc", "-xc", "-", *flags, "-o", library], input=source.encode(), check=True)
        return library.read_bytes()


def write(target, name, content):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


write("weights", "none", safetensors({}))
write("weights", "kinds", safetensors({"a": ("F32", [2, 3]), "b.c": ("BF16", [4]), "i": ("I64", []), "q": ("U8", [0, 7])}, {"format": "pt"}))
write("recording", "text", recording())
write("stamp", "elf", plugin())
