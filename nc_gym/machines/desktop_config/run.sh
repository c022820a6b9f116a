# Runs a program of the desktop, and says so if a signal ended it. Arguments: the program and its own.
"$@" 4>&-
code=$?
[ $code -le 128 ] || echo "crashed: $1 by signal $((code - 128))" >&4
