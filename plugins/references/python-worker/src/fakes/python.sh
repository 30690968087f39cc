#!/bin/sh
# A real Python with packages that only look like libraries, and misbehave where a variable says so.
packages="$(cd "$(dirname "$0")" && pwd)/packages"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$packages${FAKE_PACKAGES:+:$FAKE_PACKAGES}" exec python3 "$@"
