#!/bin/sh
# Packs the Node packages as they are published, installs the tarballs into a fresh folder, and runs the tests of
# bindings/node there: node's test runner, abstract-level's suite, and tsc --strict on the tests of the types.
# usage: scripts/test-node.sh   (`make node` builds first)
set -eu

cd "$(dirname "$0")/../bindings/node"
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

node scripts/release.mjs
mkdir "$work/use"
cp -r test "$work/use/test"
cp package-lock.json .npmrc "$work/use/"
# The tools of the tests, in the versions of the lock file.
node -e '
const fs = require("fs")
const { name, version, devDependencies } = JSON.parse(fs.readFileSync("package.json"))
fs.writeFileSync(process.argv[1], JSON.stringify({ name: "use", version, private: true, devDependencies }))' "$work/use/package.json"
cd "$work/use"
npm install --silent --ignore-scripts --no-fund --no-audit
npm install --silent --no-save --ignore-scripts --no-fund --no-audit "$here"/dist/*.tgz
if [ -e node_modules/atomkv/src ] || ls node_modules/atomkv/*.node >/dev/null 2>&1; then
    echo "the package holds what it should not"
    exit 1
fi
npx tsc -p test/types/tsconfig.json
ATOMKV_CONFORMANCE="$here/../../conformance/cases.json" node --expose-gc --test --test-reporter=tap test/*.test.js test/*.test.mjs >tap || {
    grep -A 20 '^ *not ok' tap
    exit 1
}
echo "Node binding: $(sed -n 's/^# pass //p' tap) passed, $(sed -n 's/^# fail //p' tap) failed"
