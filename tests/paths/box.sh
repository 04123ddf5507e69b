#!/bin/sh
# From a box with nothing to a camera, a running unit and a first report, as root, on a machine that
# systemd booted: what systemd/README.md and systemd/CAMERA.md say, with a simulated device. Run it
# from a checkout; the arguments are the camera, and how many items will lie before it.
set -eu
cd "$(dirname "$0")/../.."
camera=${1:?name the camera, such as http://HOST/}
items=${2:-2}
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
all_are_recorded() {
  sorter journal export --journal "$journal" --csv /tmp/items.csv
  [ "$(wc -l </tmp/items.csv)" -gt "$items" ] && ! grep -Eq ",(ARRIVED|DECIDED|SENT)," /tmp/items.csv
}

# Install.
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends python3-venv motion
systemctl disable --now motion
python3 -m venv /opt/sorter
/opt/sorter/bin/pip install -q .
ln -sf /opt/sorter/bin/sorter /usr/local/bin/sorter

# The device.
systemd-run --quiet --unit=sorter-simulated \
  sorter actuator simulate --link /run/sorter-simulated --log /tmp/moves.jsonl
wait_until 60 test -e /run/sorter-simulated
chmod 666 "$(readlink -f /run/sorter-simulated)"

# The station and its camera.
sorter service install --serial /run/sorter-simulated --camera "$camera"
systemd-sysusers
systemd-tmpfiles --create
systemctl daemon-reload
systemctl enable --now sorter-watch sorter-camera
wait_until 60 device_is_ready

# A setting: a busy machine may need more than five seconds for a picture.
echo SORTER_MAX_AGE=60 >>/etc/sorter/sorter.env
systemctl restart sorter-watch
wait_until 60 device_is_ready

# The items, and what came of them.
touch /tmp/ready
wait_until 120 all_are_recorded
sorter doctor || true
sorter report --journal "$journal" --html /tmp/report.html
cat /tmp/items.csv
