# Edge Vision Toolkit. `just` lists these recipes; each sets up what it needs first.

import "images/images.just"

set positional-arguments

bin := justfile_directory() / ".venv/bin"

# What `just test` leaves out: tests that need more than a bare machine has.
unprivileged := "not engine and not hardware and not browser and not openssh and not registry and not root and not legacy and not sweeps and not mkl and not pi and not interop and not homeassistant"

# What `just test-mkl` runs on the other build of TensorFlow.
of_both_builds := "tests/networks tests/train/test_features.py tests/train/test_resuming.py tests/train/test_stages.py tests/train/test_trial.py"

# List the recipes.
_default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Create .venv from the locked requirements; PYTHON=python3.12 selects the interpreter.
setup:
    @scripts/setup.sh

# Run the whole pipeline on the built-in default: train, convert, deploy to a local fleet of three, bench, report.
demo *arguments: setup
    @"{{ bin }}/toolkit" demo "$@"

# Run the quick tests: five minutes on two cores. With arguments, such as a file, the slow ones among them too.
test *arguments: setup
    "{{ bin }}/pytest" -m "{{ unprivileged }}{{ if arguments == "" { " and not slow" } else { "" } }}" -n auto --dist worksteal "$@"

# Run the tests that `just test` leaves out because they train, emulate or wait.
test-slow *arguments: setup
    "{{ bin }}/pytest" -m "{{ unprivileged }} and slow" -n auto --dist worksteal "$@"

# Test the report in Chromium.
test-browser *arguments: setup
    "{{ bin }}/pytest" -m browser "$@"

# Test against a real OpenSSH server.
test-openssh *arguments: setup
    "{{ bin }}/pytest" -m openssh "$@"

# Test publish and pull against Debian's container registry.
test-registry *arguments: setup
    @scripts/setup.sh interop
    "{{ bin }}/pytest" -m registry "$@"

# Test with mosquitto, promtool and docker login, and with tritonclient and oras-py in .venv-interop.
test-interop *arguments: setup
    @scripts/setup.sh interop
    "{{ bin }}/pytest" -m interop "$@"

# Test discovery messages by Home Assistant's own schemas, in .venv-homeassistant (Python 3.11).
test-homeassistant *arguments: setup
    @scripts/setup.sh homeassistant
    "{{ bin }}/pytest" -m homeassistant "$@"

# Run the tests that mount full and read-only filesystems (root).
test-root *arguments: setup
    "{{ bin }}/pytest" -m root "$@"

# Test the device code on OpenVINO 2021 and 2022, in a Python 3.9 that is found or downloaded.
test-legacy *arguments: setup
    "{{ bin }}/pytest" -m legacy "$@"

# Provision Debian 13 and 12 containers with every role (container engine needed).
test-ansible *arguments: setup
    @images/engine.sh with "{{ bin }}/pytest" -m "engine and not pi" tests/ansible tests/virtual "$@"

# Provision virtual arm64 devices over SSH, with a virtual Neural Compute Stick 2.
test-pi *arguments: setup
    "{{ bin }}/pytest" -m "pi and not engine" --durations=12 "$@"

# Run releases in their container image on a virtual arm64 device (container engine needed).
test-pi-container *arguments: setup
    @images/engine.sh with sh -c '"{{ bin }}/python" images/build.py runner-cross && exec "{{ bin }}/pytest" -m "pi and engine" "$@"' sh "$@"

# Write an SD card image for a Pi: `just pi-image kitchen --key ~/.ssh/id_ed25519.pub`.
pi-image *arguments: setup
    @"{{ bin }}/toolkit" fleet image "$@"

# Create .venv-mkl with the MKL/OpenMP build of TensorFlow 2.14 (Python 3.11).
setup-mkl:
    @scripts/setup.sh mkl

# Train, convert and test with the MKL/OpenMP build of TensorFlow.
test-mkl *arguments: setup setup-mkl
    .venv-mkl/bin/python -m pytest -m "{{ unprivileged }}" -n auto {{ of_both_builds }} "$@"
    "{{ bin }}/pytest" -m mkl tests/train tests/convert "$@"

# Test sweeps and replicas on a real Ray cluster and tracking on a real MLflow server, in .venv-sweeps and a network namespace.
test-sweeps *arguments:
    @scripts/setup.sh sweeps
    scripts/in-network-namespace.sh .venv-sweeps/bin/python -m pytest -m sweeps tests/train "$@"

# Test the device code on arm64 in a container, emulated on other processors.
test-device-arm64 *arguments: setup
    scripts/test-device-arm64.sh "$@"

# Run every linter and the type checker.
lint: setup
    scripts/lint.sh

# Format Python and this file.
fmt: setup
    "{{ bin }}/ruff" format
    "{{ bin }}/ruff" check --fix
    "{{ just_executable() }}" --fmt --unstable

# Lock the requirements with hashes; `just lock --upgrade` takes newer versions.
lock *arguments: setup
    scripts/lock.sh "$@"

# Run the live app for an hour under load and check that its memory stays flat; --seconds 60 for less.
soak *arguments: setup
    "{{ bin }}/python" benchmarks/soak.py "$@"

# Run one of the programs in benchmarks/.
bench name *arguments: setup
    @shift; "{{ bin }}/python" "benchmarks/{{ name }}.py" "$@"

# Fuzz every parser of bytes from outside, guided by coverage; --seconds 300 is for all of them together.
fuzz *arguments: setup
    "{{ bin }}/python" -m tests.fuzzing.fuzz "$@"

# Kill every stage N times by SIGKILL, and check that the next run heals it: `just kills 50`.
kills count="50" *arguments: setup
    @shift; KILLS="{{ count }}" "{{ bin }}/pytest" tests/kills -n 2 "$@"

# Write the report of the workspace.
report *arguments: setup
    @"{{ bin }}/toolkit" report "$@"

# Generate docs/cli.md from the commands.
docs-cli: setup
    "{{ bin }}/python" scripts/docs_cli.py

# Render the README's images of a report in Chromium: `just docs-images [INDEX.html]`, by default of the demo's.
docs-images *arguments: setup
    "{{ bin }}/python" scripts/report_images.py "$@"

# Generate docs/reliability.md from the tests marked `fault`.
docs-reliability: setup
    "{{ bin }}/python" scripts/docs_reliability.py

# Download the wheels of devices without internet: `just wheelhouse FOLDER [aarch64|x86_64]`.
wheelhouse *arguments:
    scripts/wheelhouse.sh "$@"

# Build the wheel into dist/.
build-wheel: setup
    "{{ bin }}/hatchling" build --target wheel

# Remove everything the recipes created, except the workspace.
clean:
    rm -rf .venv .venv-* .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .ansible
