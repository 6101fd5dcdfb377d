# Edge Vision Toolkit. `just` lists these recipes; each makes what it needs first.

import "images/images.just"

set positional-arguments

bin := justfile_directory() / ".venv/bin"

# What `just test` leaves out: each of these needs something a bare machine does not have.
unprivileged := "not engine and not hardware and not browser and not openssh and not registry and not root and not eras and not sweeps and not mkl and not pi"

# What `just test-mkl` runs on the other build of TensorFlow.
of_both_builds := "tests/networks tests/train/test_features.py tests/train/test_resuming.py tests/train/test_stages.py tests/train/test_trial.py"

# List the recipes.
_default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Make .venv from the locked requirements; PYTHON=python3.12 chooses the interpreter.
setup:
    @scripts/setup.sh

# Run the whole line on the embedded default: images, training, conversion, a fleet of three, a report.
demo *arguments: setup
    @"{{ bin }}/toolkit" demo "$@"

# Run the tests that need neither root, a container engine, a browser, OpenSSH nor a registry.
test *arguments: setup
    "{{ bin }}/pytest" -m "{{ unprivileged }}" "$@"

# Run the tests that look at the report in Chromium.
test-browser *arguments: setup
    "{{ bin }}/pytest" -m browser "$@"

# Run the tests against a real OpenSSH server.
test-openssh *arguments: setup
    "{{ bin }}/pytest" -m openssh "$@"

# Run the tests of publishing and pulling against Debian's own registry.
test-registry *arguments: setup
    "{{ bin }}/pytest" -m registry "$@"

# Run the tests that mount small file systems: full, read-only, out of inodes.
test-root *arguments: setup
    "{{ bin }}/pytest" -m root "$@"

# Run the device code on the OpenVINO releases of 2021 and 2022, in a Python 3.9 that is found or made.
test-eras *arguments: setup
    "{{ bin }}/pytest" -m eras "$@"

# Provision a booted arm64 machine over SSH, with a stick in it; makes machine and QEMU the first time.
test-pi *arguments: setup
    "{{ bin }}/pytest" -m "pi and not engine" --durations=12 "$@"

# Run releases in their image on a booted arm64 machine: needs both the machine of test-pi and the engine of test-images.
test-pi-container *arguments: setup
    @images/engine.sh with sh -c '"{{ bin }}/python" images/build.py runner-cross && exec "{{ bin }}/pytest" -m "pi and engine" "$@"' sh "$@"

# Write an SD card's image for a Pi: `just pi-image kitchen --key ~/.ssh/id_ed25519.pub`.
pi-image *arguments: setup
    @"{{ bin }}/toolkit" fleet image "$@"

# Make .venv-mkl, with the MKL/OpenMP build of TensorFlow 2.14 on Python 3.11.
setup-mkl:
    @scripts/setup.sh mkl

# Train, convert and test with the MKL/OpenMP build as with the stock one.
test-mkl *arguments: setup setup-mkl
    .venv-mkl/bin/python -m pytest -m "{{ unprivileged }}" {{ of_both_builds }} "$@"
    "{{ bin }}/pytest" -m mkl tests/train "$@"

# Run the tests of sweeps on a real Ray cluster and of tracking on a real MLflow server, in .venv-sweeps.
test-sweeps *arguments:
    @scripts/setup.sh sweeps
    .venv-sweeps/bin/python -m pytest -m sweeps tests/train "$@"

# Run the device code's tests on arm64, in a container (emulated where the machine is not arm64).
test-device-arm64 *arguments: setup
    scripts/test-device-arm64.sh "$@"

# Check everything that can be checked without running it.
lint: setup
    scripts/lint.sh

# Format Python and this file.
fmt: setup
    "{{ bin }}/ruff" format
    "{{ bin }}/ruff" check --fix
    "{{ just_executable() }}" --fmt --unstable

# Resolve the requirements anew, with hashes and without addresses; `just lock --upgrade` takes newer versions.
lock *arguments: setup
    scripts/lock.sh "$@"

# Run the live app for an hour under clients and reloads and see that its memory stays flat; `just soak --seconds 60` for less.
soak *arguments: setup
    "{{ bin }}/python" benchmarks/soak.py "$@"

# Run one benchmark of benchmarks/.
bench name *arguments: setup
    @shift; "{{ bin }}/python" "benchmarks/{{ name }}.py" "$@"

# Write the report of what the workspace holds.
report *arguments: setup
    @"{{ bin }}/toolkit" report "$@"

# Write docs/cli.md from the commands.
docs-cli: setup
    "{{ bin }}/python" scripts/docs_cli.py

# Draw the README's images of a report in Chromium: `just docs-images [INDEX.html]`, by default the demo's.
docs-images *arguments: setup
    "{{ bin }}/python" scripts/report_images.py "$@"

# Write docs/reliability.md from the tests that are marked `fault`.
docs-reliability: setup
    "{{ bin }}/python" scripts/docs_reliability.py

# Fill a folder with a device's wheels, for devices without internet: `just wheelhouse FOLDER [aarch64|x86_64]`.
wheelhouse *arguments:
    scripts/wheelhouse.sh "$@"

# Build the wheel into dist/.
build-wheel: setup
    "{{ bin }}/hatchling" build --target wheel

# Remove what the recipes made, except the workspace.
clean:
    rm -rf .venv .venv-* .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .ansible
