#!/usr/bin/env bash
# Resolve the requirements of each machine: hashes, no addresses, one version of everything across all files.
# Arguments go to uv, e.g. --upgrade or --upgrade-package openvino.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() { # INPUT OUTPUT [OPTION…]
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "just lock" --output-file "requirements/$2" "${@:3}" "$1"
}

compile pyproject.toml dev.txt --extra dev "$@"
for part in device train fleet report; do
    compile pyproject.toml "$part.txt" --extra "$part" --constraint requirements/dev.txt "$@"
done
# What the device code's tests need where nothing else of the toolkit is installed.
printf '%s\n' pytest pytest-timeout |
    compile - device-test.txt pyproject.toml --extra device --constraint requirements/dev.txt "$@"
# What a machine needs before it has an environment.
for tool in uv rust-just; do
    echo "$tool" | compile - "$tool.txt" --constraint requirements/dev.txt "$@"
done
