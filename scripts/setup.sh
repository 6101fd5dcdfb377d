#!/usr/bin/env bash
# Create .venv from requirements/dev.txt, or .venv-NAME from requirements/NAME.txt:
#   scripts/setup.sh [NAME]
# A second run does nothing; an interrupted run is completed by the next one.
# PYTHON selects the interpreter. Without it, an existing environment keeps its own, and .venv-NAME takes that of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly name=${1:-}
readonly venv=.venv${name:+-$name}
readonly stamp=$venv/setup.sha256 lock=requirements/${name:-dev}.txt
readonly locks=(requirements/{uv,hatchling}.txt "$lock")
case "$name" in
    # The newest that intel-tensorflow, and the locked Home Assistant, support.
    mkl | homeassistant) readonly versions=(3.11) needed="Python 3.11" ;;
    *) readonly versions=(3.13 3.12 3.11) needed="Python 3.11, 3.12 or 3.13" ;;
esac
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 4
}

# Version (3.x) of an interpreter, empty if it does not run.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

supported() {
    local version
    version=$(version_of "$1")
    [ -n "$version" ] && [[ " ${versions[*]} " == *" $version "* ]]
}

# Interpreters of pyenv, whose shims may point nowhere.
shopt -s nullglob
pyenv=()
for version in "${versions[@]}"; do
    pyenv+=("${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python)
done
readonly pyenv

choose_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" && echo "$PYTHON" && return
        candidate=$(version_of "$PYTHON")
        fail "PYTHON=$PYTHON is ${candidate:-no interpreter that runs}; $needed is needed."
    fi
    for candidate in ${name:+.venv/bin/python} python3 "${versions[@]/#/python}" "${pyenv[@]}"; do
        supported "$candidate" && echo "$candidate" && return
    done
    fail "$needed is needed; python3 here is ${1:-missing}." \
        "Install one of them and name it: PYTHON=python${versions[-1]} just setup${name:+-$name}"
}

# Path, interpreter and requirements of the environment.
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
    # Without pip: ensurepip is a separate package on Debian, and uv installs everything anyway.
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
        fail "pip was not found. On Debian: apt-get install python3-pip"
    "$venv/bin/python" -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements/uv.txt
}

[ -z "$name" ] || [ -f "$lock" ] || fail "there is no $lock: $name is not an environment."
if finished; then exit 0; fi
rm -f "$stamp"
make_environment
echo "setup: installing the locked requirements into $venv (Python $(version_of "$venv/bin/python"))" >&2
install_uv
readonly uv=("$venv/bin/uv" pip)
# Bytecode is compiled now: benchmarks and tests then start in half the time, even where they cannot write bytecode.
"${uv[@]}" sync --python "$venv/bin/python" --require-hashes --compile-bytecode "${locks[@]}"
"${uv[@]}" install --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
fingerprint >"$stamp.part"
mv "$stamp.part" "$stamp"
