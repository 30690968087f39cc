#!/bin/sh
# torch without a package that it needs.
FAKE_IMPORT=lacks_another exec "$(dirname "$0")/python.sh" "$@"
