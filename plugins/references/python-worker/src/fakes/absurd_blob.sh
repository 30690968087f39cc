#!/bin/sh
# Announces 8 EiB, and gives nothing.
printf '\002\000\000\000{}\377\377\377\377\377\377\377\177'
