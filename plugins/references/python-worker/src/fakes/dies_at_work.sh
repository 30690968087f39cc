#!/bin/sh
# Says hello and what it is about to do, and dies of it.
. "$(dirname "$0")/frame.sh"
frame '{"ok":{"protocol":1}}'
frame '{"progress":"loading"}'
echo "Segmentation fault" >&2
kill -SEGV $$
