#!/usr/bin/env bash
# Make .venv from requirements/dev.txt, or .venv-NAME from requirements/NAME.txt:
#   scripts/setup.sh [NAME]
# Run again it does nothing; interrupted, it is finished by the next run.
# PYTHON names the interpreter; without it an existing environment keeps its own, and a named one takes that of .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly name=${1:-}
readonly venv=.venv${name:+-$name}
readonly stamp=$venv/setup.sha256 lock=requirements/${name:-dev}.txt
readonly locks=(requirements/{uv,hatchling}.txt "$lock")
case "$name" in
    mkl) readonly versions=(3.11) needed="Python 3.11" ;; # the newest that intel-tensorflow was built for
    *) readonly versions=(3.13 3.12 3.11) needed="Python 3.11, 3.12 or 3.13" ;;
esac
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
    local version
    version=$(version_of "$1")
    [ -n "$version" ] && [[ " ${versions[*]} " == *" $version "* ]]
}

# Those of pyenv, whose shims may stand for nothing.
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

[ -z "$name" ] || [ -f "$lock" ] || fail "there is no $lock, so no environment $name to make."
if finished; then exit 0; fi
rm -f "$stamp"
make_environment
echo "setup: installing the locked requirements into $venv (Python $(version_of "$venv/bin/python"))" >&2
install_uv
readonly uv=("$venv/bin/uv" pip)
# Compiled at once: a device's benchmark or a test then starts in half the time, also where nothing may write bytecode.
"${uv[@]}" sync --python "$venv/bin/python" --require-hashes --compile-bytecode "${locks[@]}"
"${uv[@]}" install --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
fingerprint >"$stamp.part"
mv "$stamp.part" "$stamp"
