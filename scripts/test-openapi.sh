#!/bin/sh
# The service against its own description, by schemathesis: what the description allows must be accepted, what it forbids
# refused, and every answer be as described.
# usage: scripts/test-openapi.sh [EXAMPLES]   so many of each operation, of another seed each time; without, the same few
#        ATOMKV_PROGRAM names the command line that is there already
set -eu

cd "$(dirname "$0")/.."
scripts/need.sh cargo python3 python3-venv
target=${CARGO_TARGET_DIR:-target}
program=${ATOMKV_PROGRAM:-}
if [ -z "$program" ]; then
    cargo build --locked -p atomkv-cli
    program=$(cd "$target" && pwd)/debug/atomkv
fi
tests=$PWD/atomkv-server/tests/schemathesis
scripts/python-venv.sh "$target/schemathesis" "$tests/requirements.txt"
schemathesis=$(cd "$target/schemathesis" && pwd)/bin/schemathesis
work=$(mktemp -d)
service=
trap '[ -z "$service" ] || kill "$service"; wait; rm -rf "$work"' EXIT
. scripts/signals.sh
mkdir "$work/backups"
"$program" serve "$work/data" --listen 127.0.0.1:0 --backups "$work/backups" --durability buffered >"$work/log" 2>&1 &
service=$!
for _ in $(seq 100); do
    url=$(sed -n 's#.*\(http://127\.0\.0\.1:[0-9]*\).*#\1#p' "$work/log" | head -n 1)
    [ -z "$url" ] || break
    sleep 0.1
done
[ -n "$url" ] || {
    cat "$work/log"
    exit 1
}
python3 - "$url" <<'PUT'
import sys
from urllib.request import Request, urlopen

settings = b'{"ordered": true, "retention": "all"}'
json = {"Content-Type": "application/json"}
urlopen(Request(sys.argv[1] + "/v1/tables/t", settings, json, method="PUT")).close()
urlopen(Request(sys.argv[1] + "/v1/tables/t/documents/k", b"a document", method="PUT")).close()
PUT
if [ $# -gt 0 ]; then
    set -- --max-examples "$1"
else
    set -- --max-examples 10 --generation-deterministic
fi
# It keeps what it has found where it runs.
cd "$work"
limit -k 10 "${ATOMKV_TEST_SECONDS:-3600}" env PYTHONPATH="$tests" PYTHONDONTWRITEBYTECODE=1 \
    "$schemathesis" --config-file "$tests/schemathesis.toml" run "$url/openapi.json" "$@" --no-color \
    --request-timeout 20 --output-truncate false >"$work/report" 2>&1 || {
    cat "$work/report"
    exit 1
}
kill -0 "$service"
tested=$(sed -n 's/^ *Tested: \([0-9]*\)$/\1/p' "$work/report")
requests=$(sed -n 's/^ *\([0-9]*\) generated, [0-9]* passed.*/\1/p' "$work/report")
echo "service against its description: $tested passed, 0 failed (operations, with $requests requests)"
