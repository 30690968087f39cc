#!/bin/sh
# Closes its end, and stays.
exec sleep 60 >&-
