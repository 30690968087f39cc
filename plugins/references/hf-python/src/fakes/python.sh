#!/bin/sh
# A real Python with packages that only look like torch and transformers, and misbehave where a variable says so.
here="$(cd "$(dirname "$0")" && pwd)"
FAKE_PACKAGES="$here/packages" exec "$here/../../../python-worker/src/fakes/python.sh" "$@"
