# Runs a program of the desktop and says if it ends otherwise than well, as one does whose window is closed. Arguments:
# the program and its own.
trap : HUP INT TERM
"$@" 4>&-
code=$?
[ $code -eq 0 ] || echo "crashed: $1 ended with $code" >&4
