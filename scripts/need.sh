#!/bin/sh
# Makes sure that programs are there and not too old: installs those that Debian packages, as root or by a sudo that asks for no
# password; says plainly what is missing.
# usage: scripts/need.sh PROGRAM[=VERSION]...   a version beyond the one that is needed anyway
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

# The oldest that will do: of Rust what Cargo.toml says, of Node the first whose test runner has reporters.
oldest() {
    case $1 in
    cargo) sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml" ;;
    node) echo 18.15 ;;
    esac
}

rust="install Rust $(oldest cargo) or later, see https://rustup.rs"
missing=""
packages=""
for argument in "$@"; do
    program=${argument%%=*}
    is_there "$program" && continue
    missing="$missing $program"
    packages="$packages $(package_of "$program")"
done

case $missing in
*" cargo"*)
    echo "cargo is missing: $rust" >&2
    exit 1
    ;;
esac

# install_missing: fails where apt-get is not there, or did not do it.
install_missing() {
    command -v apt-get >/dev/null || return 1
    apt_get="env DEBIAN_FRONTEND=noninteractive apt-get"
    [ "$(id -u)" -eq 0 ] || apt_get="sudo -n $apt_get"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # shellcheck source=scripts/signals.sh
    . "$(dirname "$0")/signals.sh"
    echo "installing$packages (for$missing)"
    # shellcheck disable=SC2086 # a command, and a list of packages
    { $apt_get install -y $packages || { $apt_get update && $apt_get install -y $packages; }; } >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        return 1
    }
}
if [ -n "$missing" ] && ! install_missing; then
    echo "missing:$missing. Install them (on Debian: apt-get install$packages) and try again." >&2
    exit 1
fi

for argument in "$@"; do
    program=${argument%%=*}
    wanted=$(oldest "$program")
    [ "$program" = "$argument" ] || wanted=${argument#*=}
    [ -n "$wanted" ] || continue
    # Whatever it says where it does not run is seen.
    version=$("$program" --version | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p')
    [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" = "$wanted" ] && continue
    how="install it, for instance from https://nodejs.org"
    [ "$program" != cargo ] || how=$rust
    echo "$program is ${version:-of no known version}, and $wanted or later is needed: $how" >&2
    exit 1
done
