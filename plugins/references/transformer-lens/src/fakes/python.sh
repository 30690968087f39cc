#!/bin/sh
# A real Python with packages that only look like torch, transformers and TransformerLens.
here="$(cd "$(dirname "$0")" && pwd)"
FAKE_PACKAGES="$here/packages" exec "$here/../../../python-worker/src/fakes/python.sh" "$@"
