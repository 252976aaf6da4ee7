#!/bin/sh
# Makes sure that programs are there: installs those that Debian packages, where it may; says plainly what is missing.
# usage: scripts/need.sh PROGRAM...
set -eu

package_of() {
    case $1 in
    cc | make) echo build-essential ;;
    c++) echo g++ ;;
    clang) echo "clang libclang-dev" ;;
    abidiff) echo abigail-tools ;;
    python3 | python3-venv | valgrind | gzip | curl | pkg-config | cmake | doxygen | mandoc | luajit) echo "$1" ;;
    php) echo php-cli ;;
    node) echo nodejs ;;
    npm | chromium) echo "$1" ;;
    *) echo "" ;;
    esac
}

# python3-venv is no program: Debian keeps a part of Python's library in a package of that name.
is_there() {
    case $1 in
    python3-venv) python3 -c "import ensurepip, venv" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing=""
packages=""
for program in "$@"; do
    is_there "$program" && continue
    missing="$missing $program"
    packages="$packages $(package_of "$program")"
done
[ -n "$missing" ] || exit 0

case $missing in
*" cargo"*)
    echo "cargo is missing: install Rust, see https://rustup.rs" >&2
    exit 1
    ;;
esac
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null; then
    echo "installing$packages (for$missing)"
    # shellcheck disable=SC2086 # a list of packages
    if { $as_root apt-get install -y $packages || { $as_root apt-get update && $as_root apt-get install -y $packages; }; } \
        >/tmp/atomkv-apt.$$ 2>&1; then
        rm -f /tmp/atomkv-apt.$$
        exit 0
    fi
    tail -n 5 /tmp/atomkv-apt.$$ >&2
    rm -f /tmp/atomkv-apt.$$
fi
echo "missing:$missing. Install them (on Debian: apt-get install$packages) and try again." >&2
exit 1
