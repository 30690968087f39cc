#!/bin/sh
# No torch.
FAKE_IMPORT=is_missing exec "$(dirname "$0")/python.sh" "$@"
