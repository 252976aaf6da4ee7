#!/bin/sh
# The console of the service in a real browser, Chromium without a window: atomkv-server/tests/console, by node's test runner.
# Without Chromium, or with a Node before 20, it says that the console was not tested; in CI it installs Debian's package of
# Chromium if it may.
# usage: scripts/test-console.sh   ATOMKV_PROGRAM names the command line that is there already, ATOMKV_CHROMIUM another browser
set -eu

cd "$(dirname "$0")/.."
browser=${ATOMKV_CHROMIUM:-chromium}
if [ "${CI:-}" = true ] && ! command -v "$browser" >/dev/null; then
    scripts/need.sh chromium || true
fi
if ! browser=$(command -v "$browser"); then
    echo "console: not tested, since there is no Chromium (Debian: apt-get install chromium)"
    exit 0
fi
command -v node >/dev/null || scripts/need.sh node
node=$(node -p process.versions.node)
if [ "${node%%.*}" -lt 20 ]; then
    echo "console: not tested, since its driver, Playwright, needs Node 20 or later, and this is $node"
    exit 0
fi
scripts/need.sh cargo npm
program=${ATOMKV_PROGRAM:-}
if [ -z "$program" ]; then
    cargo build --locked -p atomkv-cli
    target=${CARGO_TARGET_DIR:-target}
    program=$(cd "$target" && pwd)/debug/atomkv
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh
cd atomkv-server/tests/console
# The driver only; it never fetches a browser.
PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --loglevel=error --ignore-scripts
# A hang is ended; what ran last is the last line then.
limit -k 10 "${ATOMKV_TEST_SECONDS:-900}" env ATOMKV_PROGRAM="$program" ATOMKV_CHROMIUM="$browser" \
    node --test --test-concurrency=1 --test-reporter=tap ./*.test.mjs >"$work/tap" || {
    grep -A 30 '^ *not ok' "$work/tap" || tail -n 20 "$work/tap"
    exit 1
}
echo "console: $(sed -n 's/^# pass //p' "$work/tap") passed, $(sed -n 's/^# fail //p' "$work/tap") failed"
