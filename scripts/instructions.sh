#!/bin/sh
# Counts the engine's instructions with valgrind (bench/benches/instructions.rs).
# The profiles are left in TARGET/gungraun; a second run tells what has changed since the first.
# usage: scripts/instructions.sh TARGET, an absolute path
set -eu

cd "$(dirname "$0")/.."
target=$1
# The runner must be of the same version as the library.
version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"/\1/p;}' Cargo.lock)
runner=$target/tools/bin/gungraun-runner
if ! "$runner" --version 2>/dev/null | grep -qF "$version"; then
    cargo install --locked --root "$target/tools" --target-dir "$target/tools/build" --version "=$version" gungraun-runner
fi
# A folder of its own: without its peers the benchmark program is another, and a long run of it may be under way.
GUNGRAUN_RUNNER=$runner cargo bench --locked --target-dir "$target/instructions" -p atomkv-bench --no-default-features --bench instructions
