#!/bin/sh
# Runs the four client tests against a server that is already running, and says which passed.
#
# Usage: run.sh BASE_URL
# CLIENTS_DIR: where the packages are installed, kept for the next run. Without it, a temporary directory.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: run.sh BASE_URL" >&2
    exit 2
fi
base=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if [ -n "${CLIENTS_DIR:-}" ]; then
    mkdir -p "$CLIENTS_DIR"
    work=$(CDPATH='' cd -- "$CLIENTS_DIR" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
fi

[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
# Node looks for packages beside the script, so the script goes where the packages are.
cp "$here/package.json" "$here/fhir_kit_client.mjs" "$work/"
(cd "$work" && npm install --silent --no-audit --no-fund --no-package-lock)

failed=0
summary=
run() {
    name=$1
    shift
    if "$@" "$base"; then
        summary="$summary
PASS $name"
    else
        summary="$summary
FAIL $name"
        failed=1
    fi
}

run fhirpy "$work/venv/bin/python" "$here/fhirpy_client.py"
run fhirclient "$work/venv/bin/python" "$here/fhirclient_client.py"
run fhir-kit-client node "$work/fhir_kit_client.mjs"
run fhir.resources "$work/venv/bin/python" "$here/fhir_resources_parse.py"

printf '%s\n' "$summary"
exit "$failed"
