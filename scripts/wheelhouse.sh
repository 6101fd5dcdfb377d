#!/usr/bin/env bash
# Download the wheels that devices need, for devices without internet: openvino_wheelhouse in the inventory.
#
#   scripts/wheelhouse.sh FOLDER [MACHINE]                         for Debian 13 and 12
#   scripts/wheelhouse.sh FOLDER MACHINE LOCK PYTHON GLIBC_MINOR   for another system, e.g. aarch64 device-archive 3.9 31
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly folder=${1:?a folder to fill} machine=${2:-aarch64} lock=${3:-device}

download() { # PYTHON GLIBC_MINOR
    local platforms=() minor
    for ((minor = 17; minor <= $2; minor++)); do
        platforms+=(--platform "manylinux_2_${minor}_$machine")
    done
    python3 -m pip download --quiet --disable-pip-version-check --dest "$folder" --require-hashes --only-binary :all: \
        "${platforms[@]}" --platform "manylinux2014_$machine" --python-version "$1" --requirement "requirements/$lock.txt"
}

if [ $# -gt 3 ]; then
    download "$4" "${5:-36}"
else
    download 3.13 41
    download 3.11 36
fi
