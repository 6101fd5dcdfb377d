#!/usr/bin/env bash
# Build every image that can be built from public packages, then test them; arguments go to pytest.
# `just test-images` runs it inside `engine.sh with`, so that an engine is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

.venv/bin/python images/build.py all
.venv/bin/pytest -m engine tests/images "$@"
