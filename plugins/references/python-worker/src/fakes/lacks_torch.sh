#!/bin/sh
# A worker that found no torch.
. "$(dirname "$0")/frame.sh"
frame '{"error":{"kind":"unsupported","message":"`python3` has no module `torch`","backtrace":null}}'
