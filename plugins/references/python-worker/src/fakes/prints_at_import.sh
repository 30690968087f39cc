#!/bin/sh
# torch that greets.
FAKE_IMPORT=prints exec "$(dirname "$0")/python.sh" "$@"
