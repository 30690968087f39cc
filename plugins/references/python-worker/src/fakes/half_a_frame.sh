#!/bin/sh
# Goes in the middle of a word.
printf '\050\000\000\000{"ok":'
