#!/bin/sh
# The C tests with a library that AddressSanitizer and ThreadSanitizer see into: its own crates are compiled anew with
# nightly Rust for that, its standard library is as it comes. Without a nightly Rust nothing is tested, and that is said.
# usage: scripts/test-sanitize.sh TARGET, an absolute path where the libraries are built
set -eu

cd "$(dirname "$0")/.."
target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
. scripts/check.sh
tests=atomkv-ffi/tests/c

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "no nightly Rust is installed (rustup toolchain install nightly): the library cannot be instrumented."
    echo "make test has run the C tests under AddressSanitizer, UBSan, valgrind and helgrind with the library as it is."
    exit 0
fi
host=$(rustc -vV | sed -n 's/^host: //p')
runtimes=$(rustc +nightly --print sysroot)/lib/rustlib/$host/lib

# instrumented SANITIZER: builds the archive.
instrumented() {
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        RUSTFLAGS="-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes" \
        cargo +nightly build --release --locked -p atomkv-ffi --target "$host" --target-dir "$target/sanitize-$1"
}

# tests_with SANITIZER CFLAGS: builds the tests with the archive and the sanitizer's run-time part from Rust's
# toolchain, since clang's own may be older than the compiler that made the archive.
tests_with() {
    mkdir -p "$work/$1"
    archive="$target/sanitize-$1/$host/release/libatomkv.a"
    case $1 in
    address) runtime=asan ;;
    thread) runtime=tsan ;;
    esac
    make -s -C $tests OUTPUT="$work/$1" CC=clang CXX=clang++ CFLAGS="-O1 -g $2" static ATOMKV_ARCHIVE="'$archive' \
        -Wl,--whole-archive '$runtimes/librustc-nightly_rt.$runtime.a' -Wl,--no-whole-archive -rdynamic \
        $(make --no-print-directory install-static-libs) -lstdc++"
}

check "installation" make --no-print-directory install DESTDIR="$work/root" PREFIX=/opt/atomkv
export PKG_CONFIG_PATH="$work/root/opt/atomkv/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work/root"

check "the library with AddressSanitizer" instrumented address
check "the tests with AddressSanitizer" tests_with address "-fsanitize=address -fno-sanitize-link-runtime"
# shellcheck disable=SC2046
run_tests " with AddressSanitizer in the library" $(find "$work/address" -name '*_static' | sort)
# It is at work: the library is told of a key longer than the bytes behind it, and reads on.
cat >"$work/overread.c" <<'END'
#include <stdlib.h>
#include "atomkv.h"
int main(int count, char **arguments)
{
    atomkv_db *db;
    atomkv_table *table;
    char *key = calloc(8, 1);
    return count != 2 || atomkv_open(arguments[1], NULL, &db, NULL) || atomkv_table_open(db, "t", NULL, &table, NULL) ||
           atomkv_put(table, key, 100, "x", 1, NULL);
}
END
reports_overread() {
    # shellcheck disable=SC2046 # lists of flags
    clang -g $(pkg-config --cflags atomkv) -fsanitize=address -fno-sanitize-link-runtime "$work/overread.c" \
        -o "$work/overread" "$target/sanitize-address/$host/release/libatomkv.a" -Wl,--whole-archive \
        "$runtimes/librustc-nightly_rt.asan.a" -Wl,--no-whole-archive -rdynamic \
        $(make --no-print-directory install-static-libs) -lstdc++
    mkdir "$work/overread-data"
    if "$work/overread" "$work/overread-data" 2>"$work/report"; then
        echo "no report"
        return 1
    fi
    grep "heap-buffer-overflow" "$work/report" | tail -n 1
}
check "an overread inside the library is reported" reports_overread

check "the library with ThreadSanitizer" instrumented thread
check "the tests with ThreadSanitizer" tests_with thread "-fsanitize=thread -fno-sanitize-link-runtime"
# shellcheck disable=SC2046
run_tests " with ThreadSanitizer in the library" $(find "$work/thread" -name 'test_threads*_static' | sort) \
    -- env TSAN_OPTIONS="suppressions=$PWD/$tests/thread-sanitizer.supp halt_on_error=0 exitcode=66"

echo "C interface, instrumented: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
