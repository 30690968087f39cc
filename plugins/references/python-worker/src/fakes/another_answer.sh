#!/bin/sh
# Says hello, and answers something that was not asked.
. "$(dirname "$0")/frame.sh"
frame '{"ok":{"protocol":1}}'
frame '{"ok":["a","b"]}'
cat > /dev/null
