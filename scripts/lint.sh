#!/usr/bin/env bash
# All checks of `just lint`; failed ones are listed at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PWD/.venv/bin:$PATH"

failed=()
check() { # NAME COMMAND…
    local name=$1 began=$SECONDS
    shift
    if "$@"; then
        printf 'lint: %-14s ok     %3d s\n' "$name" "$((SECONDS - began))" >&2
    else
        printf 'lint: %-14s FAILED\n' "$name" >&2
        failed+=("$name")
    fi
}

# Tracked and new files that match any of the patterns; links to folders are left out.
files() {
    git ls-files --cached --others --exclude-standard -- "$@" |
        while IFS= read -r path; do [ -d "$path" ] || printf '%s\n' "$path"; done
}

shell_files() {
    files | on_files awk 'FNR == 1 && FILENAME !~ /\.j2$/ && (FILENAME ~ /\.sh$/ || /^#!.*[/ ](bash|dash|sh)( |$)/) { print FILENAME } { nextfile }'
}

on_files() { # COMMAND… reads file names from stdin; no files, nothing to check
    xargs -r -d '\n' "$@"
}

run_shellcheck() { shell_files | on_files shellcheck; }
run_hadolint() { files 'images/**Dockerfile*' | on_files hadolint; }
run_yamllint() { files '*.yml' '*.yaml' | on_files yamllint --strict; }
run_typos() { files | on_files typos --force-exclude --; }
run_ansible_lint() { [ ! -d ansible ] || (cd ansible && ansible-lint --offline --strict -q); }

check ruff ruff check --quiet
check ruff-format ruff format --check --quiet
check mypy mypy
check import-linter lint-imports --no-logo
check typos run_typos
check shellcheck run_shellcheck
check hadolint run_hadolint
check yamllint run_yamllint
check ansible-lint run_ansible_lint
check justfile just --fmt --check --unstable

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
