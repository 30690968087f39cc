#!/bin/sh
# torch that transformers does not take.
FAKE_TORCH=2.1.0 exec "$(dirname "$0")/python.sh" "$@"
