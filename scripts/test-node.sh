#!/bin/sh
# Packs the Node packages as they are published, installs the tarballs into a fresh folder, and runs the tests of
# bindings/node there: node's test runner, abstract-level's suite, tsc --strict on the tests of the types, and the examples.
# usage: scripts/test-node.sh   (`make node` builds first)
set -eu

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
cd bindings/node
here=$(pwd)

node scripts/release.mjs
mkdir "$work/use"
cp -r test "$work/use/test"
cp package-lock.json .npmrc "$work/use/"
# The tools of the tests, as `make node` has installed them.
cp -r node_modules "$work/use/"
node -e '
const fs = require("fs")
const { name, version, devDependencies } = JSON.parse(fs.readFileSync("package.json"))
fs.writeFileSync(process.argv[1], JSON.stringify({ name: "use", version, private: true, devDependencies }))' "$work/use/package.json"
cd "$work/use"
npm install --loglevel=error --offline --no-save --ignore-scripts --no-fund --no-audit "$here"/dist/*.tgz
if [ -e node_modules/atomkv/src ] || ls node_modules/atomkv/*.node >/dev/null 2>&1; then
    echo "the package holds what it should not"
    exit 1
fi
npx --offline tsc -p test/types/tsconfig.json
# A hang is ended; what ran last is the last line then.
limit -k 10 "${ATOMKV_TEST_SECONDS:-600}" env ATOMKV_CONFORMANCE="$here/../../conformance/cases.json" \
    node --expose-gc --test --test-reporter=tap test/*.test.js test/*.test.mjs >tap || {
    grep -A 20 '^ *not ok' tap || tail -n 20 tap
    exit 1
}
# The examples, as their heads say; what they print is compared where it is always the same.
cp -r "$here/../../examples/node" examples
mkdir "$work/data"
printed=$work/printed
wrong() {
    cat "$printed"
    echo "the example $1 does not do what it should"
    exit 1
}
run() { (cd examples && timeout -k 10 60 node "$@") >"$printed" || wrong "$1"; }
run quickstart.mjs "$work/data/quickstart"
grep "^ada { born: 1815, title: 'countess' }$" "$printed" || wrong quickstart.mjs
run sessions.mjs "$work/data/sessions"
grep "^later: null$" "$printed" || wrong sessions.mjs
run queue.mjs "$work/data/queue"
test "$(sed 's/^[a-z]* did //' "$printed" | sort | tr '\n' ' ')" = "backup mail report " || wrong queue.mjs
npx --offline tsc --strict --module nodenext examples/quickstart.ts
(cd "$work/data" && timeout -k 10 60 node "$work/use/examples/quickstart.js") >"$printed" || wrong quickstart.ts
grep '^1815$' "$printed" || wrong quickstart.ts
timeout -k 10 60 node test/programs/events.mjs "$work/use/examples/events.mjs" "$work/data/events" >"$printed" || wrong events.mjs
echo "Node binding: $(sed -n 's/^# pass //p' tap) passed, $(sed -n 's/^# fail //p' tap) failed"
