#!/bin/sh
# Another program altogether.
echo "Welcome to the calculator!"
cat > /dev/null
