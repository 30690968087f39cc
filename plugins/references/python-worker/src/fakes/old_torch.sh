#!/bin/sh
# torch from before the program.
FAKE_TORCH=2.1.0 exec "$(dirname "$0")/python.sh" "$@"
