#!/bin/sh
# A real Python that sees nothing that was installed.
exec python3 -I -S "$@"
