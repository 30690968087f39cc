#!/bin/sh
# torch that never ends to be imported.
FAKE_IMPORT=hangs exec "$(dirname "$0")/python.sh" "$@"
