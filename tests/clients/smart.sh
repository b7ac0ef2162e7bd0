#!/bin/sh
# Runs SMART apps and a backend service, made with the libraries that real ones are made with, against a server of its own
# with default settings. Ends at the first fault.
#
# Usage: smart.sh PLUMBLINE_BINARY
# CLIENTS_DIR: where the tests and their packages are put, kept for the next run. Without it, a temporary directory.
# CHROMIUM: the browser, if it is not chromium.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: smart.sh PLUMBLINE_BINARY" >&2
    exit 2
fi
CHROMIUM=${CHROMIUM:-$(command -v chromium)} || { echo "smart.sh: there is no chromium" >&2; exit 2; }
export CHROMIUM
here=$(dirname -- "$0")
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null; wait "$server"; fi || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
clients=${CLIENTS_DIR:-$work/clients}
"$here/install.sh" "$clients"

# The tests register their own apps: PLUMBLINE works on the same data as the server.
export PLUMBLINE="$1" PLUMBLINE_DATA="$work/data"
"$PLUMBLINE" serve --demo --listen 127.0.0.1:0 >"$work/url" 2>"$work/log" &
server=$!
until [ -s "$work/url" ]; do
    kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
base=$(head -n 1 "$work/url")/fhir

# Who logs in: a practitioner of the demo.
export FHIR_USER=Practitioner/practitioner-000001 LOGIN=elizabeth PASSWORD='several words make a good one'
echo "$PASSWORD" | "$PLUMBLINE" user add "$LOGIN" --fhir-user "$FHIR_USER"

"$clients/venv/bin/python" "$clients/smart/fhirclient_app.py" "$base"
node "$clients/smart/fhirclient_browser.mjs" "$base"
node "$clients/smart/fhir_kit_backend.mjs" "$base"
