#!/bin/sh
# A real Python with packages that only look like torch and transformers, and misbehave where a variable says so.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(cd "$(dirname "$0")" && pwd)/packages" exec python3 "$@"
