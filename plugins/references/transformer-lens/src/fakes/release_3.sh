#!/bin/sh
# TransformerLens with both of its models.
FAKE_TRANSFORMER_LENS=3.9.0 exec "$(dirname "$0")/python.sh" "$@"
