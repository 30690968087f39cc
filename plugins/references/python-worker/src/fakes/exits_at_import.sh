#!/bin/sh
# torch that ends the process, as Python does.
FAKE_IMPORT=exits exec "$(dirname "$0")/python.sh" "$@"
