#!/bin/sh
# Everything that the environment can do to a Python.
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/shadow" || exit
export FAKE_START=prints PYTHONSTARTUP="$here/shadow/torch.py" PYTHONINSPECT=1 PYTHONUNBUFFERED=1 PYTHONWARNINGS=error
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=":$here/packages" exec python3 "$@"
