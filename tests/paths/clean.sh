#!/bin/sh
# From a machine with nothing but Python 3.11 to a sorted folder. Run it from a checkout; the one
# argument is a folder to work in, made if it is missing.
set -eu
cd "$(dirname "$0")/../.."
work=${1:?name a folder to work in}

python3 -m venv "$work/venv"
. "$work/venv/bin/activate"
pip install --quiet --disable-pip-version-check .
sorter classify sorter/samples/pictures --csv "$work/out.csv" --sort-into "$work/sorted"
