#!/usr/bin/env bash
# The papers' setting on AG News, both operations, three seeds: one JSON document each under results/.
# Needs TOKEN2WAVE_DATA. About 5 minutes a run on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
for seed in 0 1 2; do
  for op in modulation interference; do
    .venv/bin/token2wave train ag_news --preset paper --operation "$op" --seed "$seed" --json \
      > "results/ag_news-paper/$op-$seed.json"
  done
done
