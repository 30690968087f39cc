#!/bin/sh
# torch that ends the process, as C does.
FAKE_IMPORT=dies exec "$(dirname "$0")/python.sh" "$@"
