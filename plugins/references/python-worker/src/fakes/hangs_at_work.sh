#!/bin/sh
# torch that never ends to compute.
FAKE_WORK=hangs exec "$(dirname "$0")/python.sh" "$@"
