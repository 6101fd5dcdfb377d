#!/usr/bin/env bash
# Test the device code on arm64 in a container. The wheels are installed on this platform, because that takes minutes under
# emulation. DEVICE_IMAGE is any arm64 image with Python 3.11 and glibc 2.36 or later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly image=${DEVICE_IMAGE:-python:3.11-slim-bookworm}
readonly packages=.tools/arm64-packages

.venv/bin/uv pip install --quiet --target "$packages" --python-version 3.11 --python-platform aarch64-manylinux_2_36 \
    --only-binary :all: --require-hashes --requirement requirements/device-test.txt
docker run --rm --platform linux/arm64 --network none --volume "$PWD:/src:ro" --workdir /src --tmpfs /tmp:exec \
    --env PYTHONPATH="/src/$packages:/src" --env PYTHONDONTWRITEBYTECODE=1 \
    "$image" python3 -m pytest -p no:cacheprovider -m "not legacy" tests/device "$@"
