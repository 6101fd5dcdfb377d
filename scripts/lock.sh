#!/usr/bin/env bash
# Lock the requirements of each kind of machine: with hashes, without URLs, one version of each package across all files.
# Arguments are passed to uv, e.g. --upgrade or --upgrade-package openvino.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly current=(--python-version 3.11)
compile() { # INPUT OUTPUT [OPTION…]
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
        --custom-compile-command "just lock" --output-file "requirements/$2" "${@:3}" "$1"
}

compile pyproject.toml dev.txt --extra dev "${current[@]}" "$@"
for part in train fleet report; do
    compile pyproject.toml "$part.txt" --extra "$part" --constraint requirements/dev.txt "${current[@]}" "$@"
done
# Devices need only the extra, not the toolkit itself.
.venv/bin/python -c 'import tomllib
for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["device"]: print(line)' |
    compile - device.txt --constraint requirements/dev.txt "${current[@]}" "$@"
# The environment of the TensorFlow build with MKL and OpenMP, with what its tests and benchmarks need.
printf '%s\n' hypothesis pillow pytest pytest-timeout pytest-xdist scipy |
    compile - mkl.txt pyproject.toml --extra mkl "${current[@]}" "$@"
# The environment of sweeps over several machines and tracking.
printf '%s\n' hypothesis pytest pytest-timeout |
    compile - sweeps.txt pyproject.toml --extra all --extra ray --extra tracking \
        --constraint requirements/dev.txt "${current[@]}" "$@"
# The environment of clients of other projects: one of the Open Inference Protocol, one of registries.
printf '%s\n' oras 'tritonclient[http]' |
    compile - interop.txt --constraint requirements/dev.txt "${current[@]}" "$@"
# Home Assistant's schemas of discovery messages.
compile tests/device/app/alerts/requirements-homeassistant.in homeassistant.txt --no-deps \
    --constraint requirements/dev.txt "${current[@]}" "$@"
# Devices whose Python or glibc is older: one generation of compat.toml each, for Debian 11 and its Python 3.9.
printf '%s\n' 'openvino>=2023.1,<=2025.2' 'opencv-python-headless>=4.10,<5' 'numpy>=1.22' |
    compile - device-2023.txt --python-version 3.9 "$@"
# Beside Intel's archive for the Neural Compute Stick 2, which brings its own OpenVINO 2022.3.
printf '%s\n' 'opencv-python-headless>=4.5,<4.12' 'numpy>=1.19,<1.24' |
    compile - device-archive.txt --python-version 3.9 "$@"
# Requirements of the device code's tests without the rest of the toolkit.
printf '%s\n' pytest pytest-timeout |
    compile - device-test.txt pyproject.toml --extra device --constraint requirements/dev.txt "${current[@]}" "$@"
# Tools that a machine needs before it has an environment.
for tool in uv rust-just; do
    echo "$tool" | compile - "$tool.txt" --constraint requirements/dev.txt "${current[@]}" "$@"
done
# Build requirements of the toolkit.
printf '%s\n' hatchling editables | compile - hatchling.txt --constraint requirements/dev.txt "${current[@]}" "$@"
# Container images: the current runtime for both platforms, legacy ones for the only Python and machine that they support.
compile images/runner/requirements.in image-runner.txt --no-deps --constraint requirements/dev.txt "$@"
.venv/bin/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_36 --generate-hashes \
    --no-emit-index-url --custom-compile-command "just lock" --output-file requirements/image-train.txt "$@" \
    --constraint requirements/mkl.txt --extra mkl --extra fleet --extra report pyproject.toml
for year in 2021 2022; do
    .venv/bin/uv pip compile --quiet --no-deps --python-version 3.9 --python-platform x86_64-manylinux_2_31 --generate-hashes \
        --no-emit-index-url --custom-compile-command "just lock" --output-file "requirements/legacy/$year.txt" "$@" \
        "images/runner/requirements-$year.in"
done
# Intel's converter of 2021.4, the baseline of `just bench convert`.
.venv/bin/uv pip compile --quiet --no-deps --python-version 3.9 --python-platform x86_64-manylinux_2_31 --generate-hashes \
    --no-emit-index-url --custom-compile-command "just lock" --output-file requirements/legacy/mo.txt "$@" \
    benchmarks/requirements-mo.in
