#!/usr/bin/env bash
# Build every image that needs public packages only, then test them; arguments are passed to pytest.
# `just test-images` runs it inside `engine.sh with`, which provides an engine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# No test measures their size, and compressing their layers would take longer than testing them.
export SOURCE=https://git.example/edge-vision-toolkit # the tests read it from the labels
readonly uncompressed=output=type=image,compression=uncompressed
.venv/bin/python images/build.py all --set="train.$uncompressed" --set="legacy-*.$uncompressed"
.venv/bin/pytest -m engine tests/images tests/repository/test_wheel.py tests/deploy/test_containers.py tests/deploy/test_status.py tests/train/test_in_container.py "$@"
