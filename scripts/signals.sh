# For scripts that clear up when they exit: sourced, not run. A signal would end a shell such as dash without its EXIT trap.
# shellcheck shell=sh

limited=""

# limit OPTION... SECONDS COMMAND...: timeout, in the background and waited for. Ctrl-C does not reach the group of processes
# that timeout makes, and while a command is in the foreground the shell runs no trap: it would go on until that ends.
limit() {
    timeout "$@" &
    limited=$!
    limited_status=0
    wait "$limited" || limited_status=$?
    limited=""
    return "$limited_status"
}

# ended STATUS: what is still running under a limit goes first, since it works in what is cleared up.
ended() {
    trap '' HUP INT TERM
    if [ -n "$limited" ]; then
        kill "$limited" 2>/dev/null || :
        wait "$limited" || :
    fi
    exit "$1"
}
trap 'ended 129' HUP
trap 'ended 130' INT
trap 'ended 143' TERM
