#!/bin/sh
# Reads nothing, says nothing, and stays.
exec sleep 600
