# For scripts that count what they check: sourced, not run, after signals.sh. It needs $work, a directory; it sets passed and
# failed.
# shellcheck shell=sh disable=SC2154 # $work comes from the script

passed=0
failed=0

# check NAME COMMAND...: counts whether the command succeeds; shows its last line, or all of it if it does not.
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

# run_tests NAME PROGRAM... [-- COMMAND...]: each test program, with a new directory, under a command if one is given. One
# that hangs is ended after ten minutes, with a core of where it stood if the machine keeps such.
run_tests() {
    kind=$1
    shift
    to_run=""
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        to_run="$to_run $1"
        shift
    done
    [ $# -eq 0 ] || shift
    for program in $to_run; do
        rm -rf "$work/data"
        mkdir "$work/data"
        check "$(basename "$program")$kind" limit --signal=ABRT --kill-after=10 600 "$@" "$program" "$work/data"
    done
}
