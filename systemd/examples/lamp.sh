#!/bin/sh
# A lamp on a GPIO line, on while anything is wrong. For SORTER_ON_PROBLEM and SORTER_ON_CLEAR:
# lamp.sh gpiochip0 17 (libgpiod 2 gives a line back when it ends, so the lamp's process stays)
state="${RUNTIME_DIRECTORY:-/tmp}/lamp"
mkdir -p "$state"
if [ "$SORTER_EVENT" = problem ]; then
  : >"$state/$SORTER_KIND.on"
  [ -e "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null && exit 0
  setsid gpioset --chip "$1" "$2=1" </dev/null >/dev/null 2>&1 &
  echo $! >"$state/pid"
else
  rm -f "$state/$SORTER_KIND.on"
  for left in "$state"/*.on; do [ -e "$left" ] && exit 0; done
  [ -e "$state/pid" ] && kill "$(cat "$state/pid")" 2>/dev/null
  rm -f "$state/pid"
fi
exit 0
