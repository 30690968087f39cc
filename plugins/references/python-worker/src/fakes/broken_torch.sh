#!/bin/sh
# torch without its libraries.
FAKE_IMPORT=is_broken exec "$(dirname "$0")/python.sh" "$@"
