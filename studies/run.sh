#!/bin/sh
# Runs the three studies one after another, unattended; given again, it goes on where it was.
#
#     studies/run.sh [OUT] [VERTEBRA]
#
# OUT: folder of the results (studies/out). VERTEBRA: folder of the real series (../shared/data/vertebra);
# without it the study of real scans is left out. OSTEON: the command, if it is not on the path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/out}
vertebra=${2:-$here/../../shared/data/vertebra}
osteon=${OSTEON:-osteon}
mkdir -p "$out"

[ -e "$here/data/cohort/dataset.toml" ] || $osteon simulate cohort --out "$here/data/cohort" --seed 42 --overwrite \
  --set scans=20 --set species=5 --set size=128 --set slices=12 --set 'kinds=[shaft]'
studies="cohort-cv cohort-benchmark"
if [ -d "$vertebra" ]; then
  # Its slices are about 50 voxels apart; both series of a specimen stay together.
  [ -e "$here/data/vertebra.toml" ] || $osteon dataset new "$vertebra" --out "$here/data/vertebra.toml" \
    --specimen '(S\d)_' --not-contiguous
  studies="$studies vertebra-specimens"
else
  echo "no real series in $vertebra: their study is left out" >&2
fi
code=0
for study in $studies; do
  $osteon study run "$here/$study.yaml" --out "$out/$study" || code=$?
  $osteon study report "$out/$study" || code=$?
done
exit $code
