#!/bin/sh
# torch that was built for another processor.
FAKE_IMPORT=crashes exec "$(dirname "$0")/python.sh" "$@"
