#!/usr/bin/env bash
# Fill a folder with the wheels that a device needs, for devices without internet: openvino_wheelhouse in the inventory.
#   scripts/wheelhouse.sh FOLDER [MACHINE [LOCK [PYTHON [GLIBC]]]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly folder=${1:?a folder to fill} machine=${2:-aarch64} lock=${3:-device} python=${4:-3.11} glibc=${5:-36}
platforms=()
for ((minor = 17; minor <= glibc; minor++)); do
    platforms+=(--platform "manylinux_2_${minor}_$machine")
done
python3 -m pip download --quiet --disable-pip-version-check --dest "$folder" --require-hashes --only-binary :all: \
    "${platforms[@]}" --platform "manylinux2014_$machine" --python-version "$python" --requirement "requirements/$lock.txt"
