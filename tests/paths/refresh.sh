#!/bin/sh
# From twenty corrected pictures to refreshed weights. Run it from a checkout, with sorter[train]
# installed; the one argument is a folder to work in, made if it is missing. Drawn pictures stand
# for the data set, for what `sorter review RING --into corrected` files, and for things of no class.
# Not every class is drawn, and a refresh must have pictures of all that it should go on knowing:
# hence the taxonomy.
set -eu
cd "$(dirname "$0")/../.."
work=${1:?name a folder to work in}
ten=00_00,00_02,00_03,00_06,00_07,01_00,01_01,02_00,02_01,03_00

mkdir -p "$work"
python3 -m train.drawn "$work/data" --per-class 6 --seed 1 \
  --empty "$work/strange" --taxonomy "$work/drawn.toml"
python3 -m train.drawn "$work/corrected" --per-class 2 --seed 2 --classes "$ten"
sorter train "$work/data" --extra "$work/corrected" --unknown "$work/strange" \
  --taxonomy "$work/drawn.toml" --init weights/mobilenet_v2/checkpoint.pt \
  --stage head --no-int8 --out "$work/run" --cache "$work/cache"
sorter evaluate "$work/data" --model "$work/run/bundle" --precision fp16
sorter classify "$work/corrected" --model "$work/run/bundle" --precision fp16 --csv "$work/out.csv"
