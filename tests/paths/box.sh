#!/bin/sh
# From an installed sorter to a running unit with a simulated device, as root, on a machine that
# systemd booted. Run it from a checkout; it ends when three pictures have their records.
set -eu
cd "$(dirname "$0")/../.."
camera=/srv/sorter/camera
journal=/var/lib/sorter/journal.sqlite

wait_until() { # $1: seconds; the rest: a command that fails until then
  left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { echo "waited in vain: $*" >&2; exit 1; }
    sleep 0.2
  done
}
# Not `systemctl status`, whose log lines are also those of the start before.
device_is_ready() { systemctl show sorter-watch -p StatusText | grep -q "device ready"; }
three_are_recorded() {
  sorter journal export --journal "$journal" --csv /tmp/items.csv
  [ "$(wc -l </tmp/items.csv)" -eq 4 ] && ! grep -Eq ",(ARRIVED|DECIDED|SENT)," /tmp/items.csv
}

# The device.
systemd-run --quiet --unit=sorter-simulated \
  "$(command -v sorter)" actuator simulate --link /run/sorter-simulated --log /tmp/moves.jsonl
wait_until 60 test -e /run/sorter-simulated
chmod 666 "$(readlink -f /run/sorter-simulated)"

# The station.
sorter service install --exec "$(command -v sorter)" --watch "$camera" --serial /run/sorter-simulated
systemd-sysusers
systemd-tmpfiles --create
systemctl daemon-reload
systemctl enable --now sorter-watch
wait_until 60 device_is_ready

# A setting: a busy machine may need more than five seconds for a picture.
echo SORTER_MAX_AGE=60 >>/etc/sorter/sorter.env
systemctl restart sorter-watch
wait_until 60 device_is_ready

# The camera: write under another name, then rename.
for name in can banana-peel paint-bucket; do
  cp "sorter/samples/pictures/$name.jpg" "$camera/.$name.part"
  mv "$camera/.$name.part" "$camera/$name.jpg"
done
wait_until 120 three_are_recorded
cat /tmp/items.csv
