#!/bin/sh
# Builds the wheel, installs it into a fresh environment, and tests it there as its users have it: pytest, the examples in
# its documentation, its types.
# usage: scripts/test-python.sh [TARGET]   (an absolute path; default target)
set -eu

cd "$(dirname "$0")/.."
target=${1:-$(pwd)/target}
binding=bindings/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. scripts/signals.sh

scripts/build-python.sh "$target"
python=$target/python/test/bin/python
rm -rf "$target/python/test"
scripts/python-venv.sh "$target/python/test" $binding/requirements-test.txt
"$python" -m pip install --quiet --disable-pip-version-check --no-deps "$target"/python/wheels/*.whl

PYO3_PYTHON=$python cargo clippy --quiet --locked -p atomkv-python -- -D warnings
# Not beside the sources: what is installed is what is tested.
cp -r $binding/tests conformance examples/python "$work/"
mkdir -p "$work/bindings/python"
mv "$work/tests" "$work/bindings/python/tests"
tests=$work/bindings/python/tests
"$python" -m pytest -q -p no:cacheprovider --basetemp "$work/tmp" "$tests" >"$work/pytest" 2>&1 || {
    cat "$work/pytest"
    exit 1
}
tail -n 1 "$work/pytest"
"$python" - <<'END'
import doctest, importlib, pkgutil, sys
import atomkv

failed = tried = 0
names = ["atomkv"] + [f"atomkv.{module.name}" for module in pkgutil.iter_modules(atomkv.__path__)]
for name in names:
    if name != "atomkv.__main__":
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        failed, tried = failed + found.failed, tried + found.attempted
print(f"documentation: {tried} examples, {failed} failed")
sys.exit(failed > 0 or tried < 30)
END
(
    cd "$work"
    "$python" -m mypy --strict --no-error-summary -p atomkv
    "$python" -m mypy.stubtest --ignore-disjoint-bases atomkv._atomkv >stubtest 2>&1 || {
        cat stubtest
        exit 1
    }
    for example in python/*.py; do
        "$python" "$example" >"$work/example" 2>&1 || {
            cat "$work/example"
            echo "failed: $example"
            exit 1
        }
    done
)
"$target/python/build/bin/maturin" sdist --manifest-path $binding/Cargo.toml --out "$work/sdist" >"$work/sdist.log" 2>&1 || {
    cat "$work/sdist.log"
    exit 1
}
tar -xzf "$work"/sdist/*.tar.gz -C "$work/sdist"
(cd "$work"/sdist/atomkv-*/ && cargo metadata --quiet --offline --format-version 1 >"$work/metadata")
passed=$(sed -n 's/^\([0-9]*\) passed.*/\1/p' "$work/pytest" | tail -n 1)
echo "Python binding: $((passed + 4)) passed, 0 failed"
