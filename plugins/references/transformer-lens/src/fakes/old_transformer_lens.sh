#!/bin/sh
# TransformerLens from before what is asked of it.
FAKE_TRANSFORMER_LENS=2.16.1 exec "$(dirname "$0")/python.sh" "$@"
