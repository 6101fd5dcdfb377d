#!/usr/bin/env bash
# Make .venv from the lock files. Run again it does nothing; interrupted, it is finished by the next run.
# PYTHON names the interpreter; without it an existing .venv keeps its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=.venv stamp=.venv/setup.sha256
readonly locks=(requirements/uv.txt requirements/dev.txt)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 4
}

# The version as 3.x of an interpreter that runs, else nothing.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

supported() {
    case "$(version_of "$1")" in 3.11 | 3.12 | 3.13) ;; *) return 1 ;; esac
}

choose_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" && echo "$PYTHON" && return
        candidate=$(version_of "$PYTHON")
        fail "PYTHON=$PYTHON is ${candidate:-no interpreter that runs}; Python 3.11, 3.12 or 3.13 is needed."
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        supported "$candidate" && echo "$candidate" && return
    done
    fail "Python 3.11, 3.12 or 3.13 is needed; python3 here is ${1:-missing}." \
        "Install one of them and name it: PYTHON=python3.12 just setup"
}

# Where the environment stands, what runs it, and what shall be in it.
fingerprint() {
    { pwd && cat "$venv/pyvenv.cfg" "${locks[@]}" pyproject.toml; } | sha256sum
}

finished() {
    [ -f "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null &&
        { [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv/bin/python")" ]; } &&
        [ "$(fingerprint)" = "$(cat "$stamp")" ]
}

make_environment() {
    local python
    if [ -z "${PYTHON:-}" ] && supported "$venv/bin/python"; then return; fi
    python=$(choose_python "$(version_of python3)")
    # Without pip: Debian keeps ensurepip in a package of its own, and uv installs the rest anyway.
    "$python" -m venv --clear --without-pip "$venv"
}

install_uv() {
    local helper
    for helper in "${PYTHON:-python3}" python3 python; do
        "$helper" -m pip --version >/dev/null 2>&1 || continue
        "$helper" -m pip --python "$venv/bin/python" install --quiet --require-hashes --only-binary :all: \
            --requirement requirements/uv.txt
        return
    done
    "$venv/bin/python" -m ensurepip --default-pip >/dev/null 2>&1 ||
        fail "no pip was found to begin with. On Debian: apt-get install python3-pip"
    "$venv/bin/python" -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements/uv.txt
}

if finished; then exit 0; fi
rm -f "$stamp"
make_environment
echo "setup: installing the locked requirements into $venv (Python $(version_of "$venv/bin/python"))" >&2
install_uv
readonly uv=("$venv/bin/uv" pip)
# Compiled at once: a device's benchmark or a test then starts in half the time, also where nothing may write bytecode.
"${uv[@]}" sync --python "$venv/bin/python" --require-hashes --compile-bytecode requirements/dev.txt
"${uv[@]}" install --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
fingerprint >"$stamp.part"
mv "$stamp.part" "$stamp"
