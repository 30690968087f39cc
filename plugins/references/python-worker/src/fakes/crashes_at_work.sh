#!/bin/sh
# torch that crashes.
FAKE_WORK=crashes exec "$(dirname "$0")/python.sh" "$@"
