#!/bin/sh
# Makes a virtual environment with pinned packages, or brings the one that is there up to date.
# usage: scripts/python-venv.sh DIRECTORY [REQUIREMENTS-FILE]
set -eu

"$(dirname "$0")/need.sh" python3 python3-venv
venv=$1
# One whose making was cut short has a python but no pip.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$venv"
[ $# -gt 1 ] || exit 0
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$2"; then
    echo "pip could not install what $2 names; it needs a package index (PyPI, or see pip's PIP_INDEX_URL)" >&2
    exit 1
fi
