#!/bin/sh
# Compiles and runs the C and C++ tests against libatomkv as a user would, and looks at what the library exports.
# usage: scripts/test-c.sh [LIBRARY_DIRECTORY]   (default target/release; `make` builds it first)
set -eu

cd "$(dirname "$0")/.."
library=${1:-target/release}
sources=atomkv-ffi/tests/c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME COMMAND...: counts whether the command succeeds; its output is shown if it does not.
check() {
    name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
        tail -n 1 "$work/output"
    else
        failed=$((failed + 1))
        echo "failed: $name"
        cat "$work/output"
    fi
}

warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-unused-function -Werror"
ln -sf "$(cd "$library" && pwd)/libatomkv.so" "$work/libatomkv.so.0"
ln -sf libatomkv.so.0 "$work/libatomkv.so"
cc=${CC:-cc}
cxx=${CXX:-c++}
static_libraries="-lpthread -ldl -lm"

for standard in c99 c11 c17; do
    check "atomkv.h as $standard" $cc -std=$standard $warnings -Iinclude -fsyntax-only -x c include/atomkv.h
done
for standard in c++11 c++17; do
    check "atomkv.h as $standard" $cxx -std=$standard $warnings -Iinclude -fsyntax-only -x c++ include/atomkv.h
done
c_test="$cc -std=c99 -g -O1 $warnings -Iinclude $sources/test_c.c"
cxx_test="$cxx -std=c++17 -g -O1 $warnings -Iinclude $sources/test_cpp.cpp"
check "C program" $c_test -o "$work/test_c" -L"$work" -Wl,-rpath,"$work" -latomkv -lpthread
check "C program, static" $c_test -o "$work/test_c_static" "$library/libatomkv.a" $static_libraries
check "C++ program" $cxx_test -o "$work/test_cpp" -L"$work" -Wl,-rpath,"$work" -latomkv -lpthread
for standard in c++17 c++20; do
    cxx_test="$cxx -std=$standard -g -O1 $warnings -Iinclude"
    check "C++ program with exceptions, $standard" $cxx_test $sources/test_hpp.cpp -o "$work/test_hpp" \
        -L"$work" -Wl,-rpath,"$work" -latomkv -lpthread
    check "C++ program with results, $standard" $cxx_test -fno-exceptions $sources/test_hpp_result.cpp \
        -o "$work/test_hpp_result" -L"$work" -Wl,-rpath,"$work" -latomkv -lpthread
done
check "C++ example" make --no-print-directory -C examples/cpp check OUTPUT="$work" ATOMKV_INCLUDE="$PWD/include" \
    ATOMKV_LIBRARY="$work"

for program in test_c test_c_static test_cpp test_hpp test_hpp_result; do
    mkdir "$work/data-$program"
    check "$program" "$work/$program" "$work/data-$program"
done

# Nothing but atomkv_* may be visible, and everything that the header declares must be.
nm -D --defined-only "$library/libatomkv.so" | awk '$2 != "A" { print $3 }' | sort >"$work/exported"
grep -E '^[a-z].*[ *]atomkv_[a-z_]*\(' include/atomkv.h | grep -o 'atomkv_[a-z_]*(' | tr -d '(' | sort -u >"$work/declared"
check "the exported names are those of the header" diff "$work/declared" "$work/exported"
check "soname" sh -c "readelf -d '$library/libatomkv.so' | grep -q 'SONAME.*\[libatomkv.so.0\]'"
check "nodelete" sh -c "readelf -d '$library/libatomkv.so' | grep -q NODELETE"

if command -v valgrind >/dev/null; then
    for program in test_c test_cpp; do
        mkdir "$work/data-valgrind-$program"
        check "$program under valgrind" valgrind -q --error-exitcode=1 --leak-check=full \
            --errors-for-leak-kinds=definite,indirect,possible "$work/$program" "$work/data-valgrind-$program"
    done
    # Verifying keeps Rust's own note of the calling thread, which is reached by an inner pointer: possibly lost to valgrind.
    for program in test_hpp test_hpp_result; do
        mkdir "$work/data-valgrind-$program"
        check "$program under valgrind" valgrind -q --error-exitcode=1 --leak-check=full \
            --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect \
            "$work/$program" "$work/data-valgrind-$program"
    done
else
    echo "valgrind is missing (Debian: apt-get install valgrind); memory was not checked"
    failed=$((failed + 1))
fi

echo "C interface: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
