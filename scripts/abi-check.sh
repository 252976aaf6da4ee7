#!/bin/sh
# Compares the binary interface of the library, as compiled with debug information, with that of the commit that last
# wrote atomkv-ffi/abi.txt, by abidiff. It looks at types that atomkv.h declares; what is added is no failure.
# usage: scripts/abi-check.sh TARGET, an absolute path where both are built
set -eu

cd "$(dirname "$0")/.."
target=$1/abi
base=$(git log -1 --format=%H -- atomkv-ffi/abi.txt)
mkdir -p "$target"
git worktree remove --force "$target/base" 2>/dev/null || rm -rf "$target/base"
git worktree prune
git worktree add -q --detach "$target/base" "$base"
trap 'git worktree remove --force "$target/base"' EXIT
. scripts/signals.sh

# build SOURCES: the library there, under a name that tells which it is.
build() {
    (cd "$1" && CARGO_PROFILE_RELEASE_DEBUG=full CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo build --release --locked -q -p atomkv-ffi --target-dir "$target/build")
    cp "$target/build/release/libatomkv.so" "$2"
}
build "$target/base" "$target/base.so"
build . "$target/now.so"
status=0
abidiff --headers-dir1 "$target/base/include" --headers-dir2 include --no-added-syms --drop-private-types \
    "$target/base.so" "$target/now.so" || status=$?
# The bits of its status: 1 and 2 are failures to run, 4 is a change of any kind, 8 a change that is incompatible.
if [ "$status" -ne 0 ]; then
    echo "the binary interface differs from that of $base (abidiff: $status)"
    exit 1
fi
echo "the binary interface is that of $base, or has more"
