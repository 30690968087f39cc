#!/bin/sh
# torch that lacks what the program imports of it.
FAKE_PROGRAM=is_broken exec "$(dirname "$0")/python.sh" "$@"
