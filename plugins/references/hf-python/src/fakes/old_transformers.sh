#!/bin/sh
# transformers from before the attention interface.
FAKE_TRANSFORMERS=4.48.0 exec "$(dirname "$0")/python.sh" "$@"
