#!/bin/sh
# Builds the wheel of the Python binding into TARGET/python/wheels, alone there.
# usage: scripts/build-python.sh TARGET, an absolute path
set -eu

cd "$(dirname "$0")/.."
target=$1
scripts/need.sh cargo
scripts/python-venv.sh "$target/python/build" bindings/python/requirements-build.txt
rm -rf "$target/python/wheels"
"$target/python/build/bin/maturin" build --quiet --release --locked --manifest-path bindings/python/Cargo.toml \
    --interpreter "$target/python/build/bin/python" --out "$target/python/wheels"
