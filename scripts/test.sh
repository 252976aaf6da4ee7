#!/bin/sh
# Everything that is tested: form, lints, documentation, the Rust tests, the C interface, the Python binding, an installation,
# the examples, the Node binding, the console in a browser, the service against its description, the demo.
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
log=$(mktemp)
trap 'rm -rf "$log" "$log.d"' EXIT
. scripts/signals.sh
total=0

# step NAME COMMAND...: quiet when it succeeds, everything when it does not.
step() {
    name=$1
    shift
    begin=$(date +%s)
    if ! "$@" >"$log" 2>&1; then
        cat "$log"
        echo "FAILED: $name"
        exit 1
    fi
    echo "$name: good ($(($(date +%s) - begin)) s)"
}

count() {
    total=$((total + $1))
}

step "format" cargo fmt --all --check
# Without --workspace these are the default members: the benchmark, and RocksDB with it, is built by make bench only.
step "lints" cargo clippy --locked --all-targets -- -D warnings
# Beside others it has its events, alone it has not.
step "lints of the engine alone" cargo clippy --locked -p atomkv-engine --all-targets -- -D warnings
step "lints of the service without HTTPS" cargo clippy --locked -p atomkv-server --no-default-features --all-targets -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
# Not the examples, which the lints have compiled.
step "Rust tests" sh -c "cargo test --locked --tests && cargo test --locked --doc"
awk '
    /^ *Running/ { name = $NF == "" ? $2 : $2 == "unittests" ? $3 : $2 }
    /^ *Doc-tests/ { name = "documentation of " $2 }
    /^test result: ok/ && $4 > 0 { printf "  %s: %d passed\n", name, $4 }
' "$log"
count "$(awk '/^test result: ok/ { sum += $4 } END { print sum + 0 }' "$log")"
grep -q '^test events::.* ok$' "$log" || {
    echo "FAILED: the events of the engine were not tested"
    exit 1
}
step "service vectors" python3 scripts/service_vectors.py --check
step "C library" make --no-print-directory lib
step "C interface" scripts/test-c.sh
sed -n '/passed, .* failed/s/^/  /p' "$log"
count "$(sed -n 's/^C interface: \([0-9]*\) passed.*/\1/p' "$log")"
# bindgen reads the header with libclang, which the machine may lack.
if find "${LIBCLANG_PATH:-/usr/lib}" /usr/lib* -maxdepth 4 -name 'libclang*.so*' 2>/dev/null | grep -q .; then
    # Beside the packages of the Rust tests, so that it is linked with the engine that was built for those.
    step "library through dlopen" env ATOMKV_LIBRARY="$(cd "$target" && pwd)/release/libatomkv.so" \
        cargo test --locked --workspace --exclude atomkv-bench --exclude atomkv-python \
        --test dlopen --test conformance --example cost
    count "$(awk '/^test result: ok/ { sum += $4 } END { print sum + 0 }' "$log")"
else
    echo "library through dlopen: not tested, since libclang is not installed (Debian: apt-get install libclang-dev)"
fi
step "Python binding" scripts/test-python.sh "$(cd "$target" && pwd)"
sed -n '/^[0-9]* passed\|^documentation:/s/^/  /p' "$log"
count "$(sed -n 's/^Python binding: \([0-9]*\) passed.*/\1/p' "$log")"
mkdir "$log.d"
step "installation" make --no-print-directory install DESTDIR="$log.d" PREFIX=/usr
step "program against the installation" sh -c "
    cc -std=c99 -Wall -Wextra -Werror -I'$log.d/usr/include' examples/c/hello.c -o '$log.d/hello' -L'$log.d/usr/lib' -latomkv &&
    LD_LIBRARY_PATH='$log.d/usr/lib' '$log.d/hello' '$log.d/data' && LD_LIBRARY_PATH='$log.d/usr/lib' '$log.d/hello' '$log.d/data'"
step "examples" scripts/examples.sh
sed -n '/skipped;\|could not \|passed, .* failed/s/^/  /p' "$log"
count "$(sed -n 's/^examples: \([0-9]*\) passed.*/\1/p' "$log")"
step "Node binding" make --no-print-directory node
step "Node package" scripts/test-node.sh
sed -n '/passed, .* failed/s/^/  /p' "$log"
count "$(sed -n 's/^Node binding: \([0-9]*\) passed.*/\1/p' "$log")"
# The Rust tests have built the program.
step "console" env ATOMKV_PROGRAM="$(cd "$target" && pwd)/debug/atomkv" scripts/test-console.sh
sed -n '/^console: /s/^/  /p' "$log"
count "$(awk '/^console: [0-9]* passed/ { sum += $2 } END { print sum + 0 }' "$log")"
step "service against its description" env ATOMKV_PROGRAM="$(cd "$target" && pwd)/debug/atomkv" scripts/test-openapi.sh
sed -n '/^service against its description: /s/^/  /p' "$log"
count "$(sed -n 's/^service against its description: \([0-9]*\) passed.*/\1/p' "$log")"
step "demo" make --no-print-directory demo
count 4
echo "$total passed, 0 failed"
