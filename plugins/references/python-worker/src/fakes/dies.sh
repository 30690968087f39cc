#!/bin/sh
# Python with a broken installation.
echo "Fatal Python error: init_fs_encoding" >&2
echo "ModuleNotFoundError: No module named 'encodings'" >&2
exit 3
