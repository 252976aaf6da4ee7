#!/bin/sh
# What a get and a put cost through C beside the engine's own: in time, and in instructions as valgrind counts them.
# usage: scripts/c-cost.sh TARGET, an absolute path where `make lib` has built the library
set -eu

cd "$(dirname "$0")/.."
target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
export ATOMKV_LIBRARY="$target/release/libatomkv.so"
cargo build --release --locked -q -p atomkv-harness --example cost
cost=$target/release/examples/cost

# More keys than the caches hold, and few enough that the call itself shows.
for keys in 2000 1000000; do
    "$cost" "$work/$keys" "$keys"
done

# counted WHAT CALLS: the instructions of the whole process.
counted() {
    rm -rf "$work/count"
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$cost" "$work/count" count "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
for what in get c-get put c-put; do
    few=$(counted "$what" 20000)
    many=$(counted "$what" 120000)
    echo "$what: $(((many - few) / 100000)) instructions"
done
