#!/bin/sh
# What happens to a process that takes too much memory.
kill -9 $$
