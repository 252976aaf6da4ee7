#!/bin/sh
# Runs the tour of examples/ in every language whose runtime is there, and compares what it prints with
# examples/expected.txt. usage: scripts/examples.sh [LANGUAGE...]
# ATOMKV_LIBRARY: the library's path; else the one that `make lib` has built. In CI (CI=true, root, apt-get there) the
# runtimes that are missing are installed first, if they can be fetched within two minutes.
set -u

cd "$(dirname "$0")/.." || exit 1
target=${CARGO_TARGET_DIR:-target}
library=${ATOMKV_LIBRARY:-$(cd "$target" && pwd)/release/libatomkv.so.0}
[ -f "$library" ] || {
    echo "there is no $library: run make lib, or set ATOMKV_LIBRARY" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
# Linkers want the name without the number, and the loader the one with it; cgo wants a path to the header without blanks.
ln -s "$PWD/include" "$work/include"
mkdir "$work/lib"
ln -s "$(realpath "$library")" "$work/lib/libatomkv.so"
ln -s libatomkv.so "$work/lib/libatomkv.so.0"
export ATOMKV_LIBRARY="$work/lib/libatomkv.so.0" LD_LIBRARY_PATH="$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

jna=""
find_jna() {
    for jna in "${JNA_JAR:-}" /usr/share/java/jna.jar; do
        [ -f "$jna" ] && return 0
    done
    return 1
}

has() {
    for program in "$@"; do
        command -v "$program" >/dev/null || return 1
    done
}

# What each language needs: a test for it, then the Debian packages that bring it.
present() {
    case $1 in
    c) has cc make ;;
    python) has python3 ;;
    luajit) has luajit ;;
    ruby) has ruby && ruby -rfiddle -e 'exit RUBY_VERSION.to_i >= 3' 2>/dev/null ;;
    php) has php && php -r 'exit(PHP_VERSION_ID >= 80100 && extension_loaded("ffi") ? 0 : 1);' ;;
    go) has go cc ;;
    java) has javac java && find_jna ;;
    csharp) has mcs mono ;;
    perl) has perl && perl -MFFI::Platypus=2.00 -e 1 2>/dev/null ;;
    esac
}
packages() {
    case $1 in
    c) echo build-essential ;;
    python) echo python3 ;;
    php) echo php-cli ;;
    go) echo golang-go gcc ;;
    java) echo default-jdk-headless libjna-java ;;
    csharp) echo mono-mcs mono-runtime ;;
    perl) echo libffi-platypus-perl ;;
    *) echo "$1" ;;
    esac
}

# Which version of them, where present() looks at it.
version() {
    case $1 in
    ruby) echo ", Ruby 3.0 or later" ;;
    php) echo ", PHP 8.1 or later" ;;
    perl) echo ", FFI::Platypus 2.00 or later" ;;
    esac
}

# run LANGUAGE DIRECTORY
run() {
    case $1 in
    c) make -s -C examples/c OUTPUT="$work" ATOMKV_INCLUDE="$work/include" ATOMKV_LIBDIR="$work/lib" "$work/tour" >&2 &&
        "$work/tour" "$2" ;;
    python) python3 examples/ctypes/tour.py "$2" ;;
    luajit) luajit examples/luajit/tour.lua "$2" ;;
    ruby) ruby examples/ruby/tour.rb "$2" ;;
    php) php -d ffi.enable=1 examples/php/tour.php "$2" ;;
    go) (cd examples/go && CGO_CFLAGS="-I$work/include" CGO_LDFLAGS="-L$work/lib" GOCACHE="$work/go" GOFLAGS=-buildvcs=false \
        go build -o "$work/tour-go" .) && "$work/tour-go" "$2" ;;
    java) find_jna && javac -Xlint:all -Werror -cp "$jna" -d "$work/java" examples/java/Tour.java >&2 &&
        java -cp "$jna:$work/java" Tour "$2" ;;
    csharp) mcs -warnaserror -out:"$work/Tour.exe" examples/csharp/Tour.cs >&2 &&
        sed "s|libatomkv.so.0|$ATOMKV_LIBRARY|" examples/csharp/Tour.exe.config >"$work/Tour.exe.config" &&
        mono "$work/Tour.exe" "$2" ;;
    perl) perl examples/perl/tour.pl "$2" ;;
    esac
}

languages=${*:-c python luajit ruby php go java csharp perl}
missing=""
for language in $languages; do
    [ -d "examples/$language" ] || {
        echo "there is no example in $language" >&2
        exit 1
    }
    present "$language" || missing="$missing $(packages "$language")"
done
if [ -n "$missing" ] && [ "${CI:-}" = true ] && [ "$(id -u)" -eq 0 ] && has apt-get timeout; then
    # Only fetching them has a limit: what has begun to be installed is brought to its end.
    install="apt-get install -y --no-install-recommends $missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of packages
    if { timeout 120 $install --download-only || { apt-get update && timeout 120 $install --download-only; }; } >"$work/apt" 2>&1; then
        $install >"$work/apt" 2>&1 || echo "could not install$missing: $(tail -n 1 "$work/apt")"
    else
        echo "could not fetch$missing within two minutes: $(tail -n 1 "$work/apt")"
    fi
fi

passed=0
failed=0
skipped=0
for language in $languages; do
    if ! present "$language"; then
        echo "$language: skipped; Debian: apt-get install $(packages "$language")$(version "$language")"
        skipped=$((skipped + 1))
        continue
    fi
    directory="$work/data-$language"
    run "$language" "$directory" >"$work/output" 2>"$work/errors"
    status=$?
    # The message names this run's directory and process.
    sed -e "s|$directory|DIRECTORY|g" -e 's/process [0-9][0-9]*/process PROCESS/' "$work/output" >"$work/plain"
    if [ "$status" -eq 0 ] && diff examples/expected.txt "$work/plain" >"$work/difference"; then
        echo "$language: good"
        passed=$((passed + 1))
    else
        echo "$language: FAILED with status $status"
        cat "$work/errors"
        [ ! -s "$work/difference" ] || cat "$work/difference"
        failed=$((failed + 1))
    fi
    : >"$work/difference"
done
echo "examples: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
