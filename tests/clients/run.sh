#!/bin/sh
# Runs the four client tests against a server that is already running, and says which passed.
#
# Usage: run.sh BASE_URL
# ACCESS_TOKEN: a token that lets them write, as from plumbline token --scope 'system/*.cruds'.
# CLIENTS_DIR: where the tests and their packages are put, kept for the next run. Without it, a temporary directory.
set -eu

if [ $# -ne 1 ] || [ -z "${ACCESS_TOKEN:-}" ]; then
    echo "usage: ACCESS_TOKEN=... run.sh BASE_URL" >&2
    exit 2
fi
base=$1
here=$(dirname -- "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
clients=${CLIENTS_DIR:-$work}
"$here/install.sh" "$clients"

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

run fhirpy "$clients/venv/bin/python" "$clients/fhirpy_client.py"
run fhirclient "$clients/venv/bin/python" "$clients/fhirclient_client.py"
run fhir-kit-client node "$clients/fhir_kit_client.mjs"
run fhir.resources "$clients/venv/bin/python" "$clients/fhir_resources_parse.py"

printf '%s\n' "$summary"
exit "$failed"
