#!/bin/sh
# Copies the client tests to a directory and installs their packages there: Node looks for packages beside a script.
#
# Usage: install.sh DIRECTORY
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
cp -R "$here/." "$1"
cd "$1"
[ -x venv/bin/python ] || python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
npm install --silent --no-audit --no-fund
