#!/bin/sh
# Installs the C library into a temporary tree and tests it there as its users would: with pkg-config and make, with
# CMake, shared and static, from C, C++ and foreign-function libraries, under valgrind and sanitizers. Every
# atomkv-ffi/tests/c/test_*.c and .cpp is found by itself.
# usage: scripts/test-c.sh
set -eu

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
. scripts/check.sh
tests=atomkv-ffi/tests/c
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
cc=${CC:-cc}
cxx=${CXX:-c++}

# Installed below DESTDIR, with libraries where Debian puts them; then moved: a program may be built against either.
root=$work/root
layout="PREFIX=/opt/atomkv LIBDIR=/opt/atomkv/lib/host"
# shellcheck disable=SC2086 # a list of settings
install_to() { make --no-print-directory lib install DESTDIR="$1" $layout; }
check "installation" install_to "$root"
prefix=$root/opt/atomkv
library=$prefix/lib/host
export PKG_CONFIG_PATH="$library/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"

# What was laid is what make says it lays, and uninstall takes exactly that away.
# shellcheck disable=SC2086
{
    (cd "$root" && find . -type f -o -type l) | sed 's/^\.//' | sort >"$work/laid"
    make --no-print-directory install-list $layout | sort >"$work/listed"
    check "the installed files are the listed ones" diff "$work/listed" "$work/laid"
    cp -a "$root" "$work/removed"
    echo "not ours" >"$work/removed/opt/atomkv/lib/host/cmake/atomkv/other.cmake"
    echo "not ours" >"$work/removed/opt/atomkv/include/other.h"
    make --no-print-directory uninstall DESTDIR="$work/removed" $layout >/dev/null
    check "uninstall leaves what is not ours" test "$(find "$work/removed" -type f -o -type l | wc -l)" -eq 2
}

# The library: its names, its needs, its size.
dynamic() { readelf -dW "$library/libatomkv.so"; }
nm -D --defined-only "$library/libatomkv.so" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort >"$work/exported"
check "the exported names are those of symbols.txt" diff atomkv-ffi/symbols.txt "$work/exported"
check "soname" test "$(dynamic | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" = libatomkv.so.0
check "nodelete" sh -c "readelf -dW '$library/libatomkv.so' | grep -q NODELETE"
check "nothing but libc, libm and libgcc is needed" test -z \
    "$(dynamic | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libm|libgcc_s|ld-linux[^.]*)\.so')"
check "no debug information" sh -c "! readelf -SW '$library/libatomkv.so' | grep -q debug_info"
check "the links lead to the library" test "$(readlink -f "$library/libatomkv.so")" = \
    "$(readlink -f "$library/libatomkv.so.$(pkg-config --modversion atomkv)")"
target=${CARGO_TARGET_DIR:-target}
check "what the archive needs is what rustc says" test "$(make --no-print-directory install-static-libs)" = \
    "$(cat "$target/release/native-static-libs")"
check "atomkv.pc" pkg-config --validate atomkv
check "the binary interface of the last release" scripts/abi.py check "$prefix/include"

# The headers alone.
for standard in c99 c11 c17; do
    # shellcheck disable=SC2086
    check "atomkv.h as $standard" $cc -std=$standard $warnings -fsyntax-only -x c "$prefix/include/atomkv.h"
done
for standard in c++11 c++17; do
    # shellcheck disable=SC2086
    check "atomkv.h as $standard" $cxx -std=$standard $warnings -fsyntax-only -x c++ "$prefix/include/atomkv.h"
done
if [ -e "$prefix/include/atomkv.hpp" ]; then
    for standard in c++17 c++20; do
        # shellcheck disable=SC2086
        check "atomkv.hpp as $standard" $cxx -std=$standard $warnings -fsyntax-only -x c++ "$prefix/include/atomkv.hpp"
    done
fi

# The declarations for foreign-function libraries, in those that are there.
cdef=$prefix/include/atomkv.cdef
shared=$library/libatomkv.so
skipped=""
cdef_as_c() { { printf '#include <stddef.h>\n#include <stdint.h>\n' && cat "$cdef"; } | $cc -std=c99 -Wall -Werror -fsyntax-only -x c -; }
check "atomkv.cdef is C" cdef_as_c
if command -v luajit >/dev/null; then
    check "atomkv.cdef in LuaJIT" luajit -e "local ffi = require 'ffi'
        ffi.cdef(io.open('$cdef'):read('*a'))
        local lib = ffi.load('$shared')
        assert(lib.atomkv_sync(nil) == ffi.C.ATOMKV_ERR_INVALID_ARGUMENT)
        assert(ffi.sizeof('atomkv_slice') == 16)"
else
    skipped="$skipped LuaJIT"
fi
if command -v php >/dev/null && php -r 'exit(class_exists("FFI") ? 0 : 1);'; then
    check "atomkv.cdef in PHP" php -d ffi.enable=1 -d assert.exception=1 -d zend.assertions=1 -r "
        \$lib = FFI::cdef(file_get_contents('$cdef'), '$shared');
        assert(\$lib->atomkv_sync(null) === \$lib->ATOMKV_ERR_INVALID_ARGUMENT);
        assert(FFI::sizeof(\$lib->new('atomkv_slice')) === 16);"
else
    skipped="$skipped PHP"
fi
if python3 -c 'import cffi' 2>/dev/null; then
    check "atomkv.cdef in cffi" python3 -c "
import cffi
ffi = cffi.FFI()
ffi.cdef(open('$cdef').read())
lib = ffi.dlopen('$shared')
assert lib.atomkv_sync(ffi.NULL) == lib.ATOMKV_ERR_INVALID_ARGUMENT
assert ffi.sizeof('atomkv_slice') == 16"
else
    skipped="$skipped cffi"
fi
[ -z "$skipped" ] || echo "atomkv.cdef was not read by what is not installed:$skipped"

# The manual, and the pages of the headers.
manual() { ! man --warnings -E UTF-8 -l -Tutf8 -Z "$prefix/share/man/man3/atomkv.3" 2>&1 >/dev/null | grep .; }
if command -v man >/dev/null; then
    check "the manual page" manual
else
    echo "man is not installed: the manual page was not formatted"
fi
if command -v mandoc >/dev/null; then
    check "the manual page, linted" mandoc -Tlint -Wwarning "$prefix/share/man/man3/atomkv.3"
fi
if command -v doxygen >/dev/null; then
    check "the pages of the headers" env ATOMKV_VERSION="$(pkg-config --modversion atomkv)" ATOMKV_DOCS="$work" \
        doxygen atomkv-ffi/Doxyfile
else
    echo "doxygen is not installed: the pages of the headers were not made"
fi

# With pkg-config and a Makefile.
mkdir "$work/make" "$work/address"
check "built by make" make -s -C $tests OUTPUT="$work/make" CC="$cc" CXX="$cxx" all
programs=$(find "$work/make" -type f -executable ! -name '*_static' | sort)
# shellcheck disable=SC2086
check "atomkv.hpp without exceptions" $cxx -std=c++17 -fno-exceptions $warnings -I"$prefix/include" -I$tests \
    -fsyntax-only $tests/test_hpp_result.cpp
# The complete programs of the documents do what they say.
document_program() {
    python3 - "$1" "$3" >"$work/document.$3" <<'END' &&
import re, sys
blocks = re.findall(r"```" + sys.argv[2] + r"\n(.*?)```", open(sys.argv[1]).read(), re.S)
print(next(block for block in blocks if "int main" in block))
END
        $2 "$work/document.$3" -o "$work/document" -I"$prefix/include" -L"$library" -latomkv &&
        (rm -rf "$work/run" && mkdir "$work/run" && cd "$work/run" && LD_LIBRARY_PATH="$library" ../document >printed && grep countess printed)
}
check "the program of README.md" document_program README.md "$cc -std=c99" c
check "the program of docs/c-api.md" document_program docs/c-api.md "$cc -std=c99" c
check "the program of docs/cpp.md" document_program docs/cpp.md "$cxx -std=c++17" cpp
check "the C++ example" make -s -C examples/cpp check OUTPUT="$work" ATOMKV_INCLUDE="$prefix/include" \
    ATOMKV_LIBDIR="$library"
# shellcheck disable=SC2086
run_tests "" $programs
# shellcheck disable=SC2046
run_tests "" $(find "$work/make" -name '*_static' | sort)
for program in "$work"/make/*_static; do
    check "$(basename "$program") needs no libatomkv" sh -c "! readelf -dW '$program' | grep -q libatomkv"
done

# With CMake, against the tree moved to another place.
mkdir "$work/moved"
cp -a "$prefix" "$work/moved/place"
check "configured by CMake" cmake -S $tests -B "$work/cmake" -DCMAKE_BUILD_TYPE=Release \
    -Datomkv_DIR="$work/moved/place/lib/host/cmake/atomkv"
check "built by CMake" cmake --build "$work/cmake" -j 2
check "run by ctest" sh -c "cd '$work/cmake' && ctest --no-tests=error --output-on-failure >ctest.log 2>&1 || { cat ctest.log; exit 1; }; grep passed ctest.log"

# Under valgrind, and with what the compiler checks in the tests and at the border of the library. The static programs: the
# shared library as installed has no names by which valgrind could tell what it may pass over. It runs one thread at a
# time; a fair one, or a thread that asks again and again may keep the processor from the one that it waits for.
# shellcheck disable=SC2046
run_tests " under valgrind" $(find "$work/make" -name '*_static' | sort) -- valgrind -q --fair-sched=try --error-exitcode=1 \
    --leak-check=full --errors-for-leak-kinds=definite,indirect,possible --suppressions=$tests/valgrind.supp
# shellcheck disable=SC2046
run_tests " under helgrind" $(find "$work/make" -name 'test_threads*' ! -name '*_static' | sort) -- valgrind -q \
    --fair-sched=try --tool=helgrind --error-exitcode=1 --suppressions=$tests/helgrind.supp
check "built with sanitizers" make -s -C $tests OUTPUT="$work/address" CC="$cc" CXX="$cxx" \
    CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all" shared
# shellcheck disable=SC2046
run_tests " under AddressSanitizer and UBSan" $(find "$work/address" -type f -executable | sort)

echo "libatomkv.so: $(stat -L -c %s "$library/libatomkv.so") bytes, libatomkv.a: $(stat -c %s "$library/libatomkv.a") bytes"
echo "C interface: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
