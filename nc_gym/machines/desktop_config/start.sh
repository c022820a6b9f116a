# The first process of a desktop: starts the X server and the window manager, says "ready" between the two, and ends
# as soon as either of them ends. Argument: the screen, e.g. 320x240x24. File 4 is for what run.sh has to say.
mkdir /tmp/.X11-unix
mkfifo /tmp/display
Xvfb :0 -screen 0 "$1" -nolisten tcp -auth "$XAUTHORITY" -fbdir /tmp -fp /usr/share/fonts/X11/misc,/etc/desktop/fonts \
    -nocursor -noreset -r -s 0 -extension GLX -displayfd 3 3>/tmp/display &
read -r _ </tmp/display
echo ready
jwm -f /etc/desktop/jwmrc 4>&1 >/dev/null 2>&1 &
manager=$!
wait -n -p ended
code=$?
if [ "$ended" = $manager ]; then name=jwm; else name=Xvfb; fi
echo "crashed: $name ended with $code"
