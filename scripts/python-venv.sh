#!/bin/sh
# Makes a virtual environment with pinned packages, or brings the one that is there up to date.
# usage: scripts/python-venv.sh DIRECTORY [REQUIREMENTS-FILE...]
set -eu

scripts=$(dirname "$0")
"$scripts/need.sh" python3 python3-venv
venv=$1
shift
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
[ $# -gt 0 ] || exit 0
for file in "$@"; do
    set -- "$@" -r "$file"
    shift
done
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; then
    echo "pip could not install what $* names; it needs a package index (PyPI, or see pip's PIP_INDEX_URL)" >&2
    exit 1
fi
