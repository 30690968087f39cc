#!/bin/sh
# Python from before what the worker is written in.
exec python3 -c 'import sys; sys.version_info = (3, 8, 18); exec(sys.argv[-1])' "$@"
