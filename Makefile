# make demo   watch a C program load real documents, get killed while it writes, and lose nothing
# make test   everything that is tested
# make bench  the side-by-side benchmark against other stores; hours, or minutes with QUICK=1
# make install PREFIX=… DESTDIR=… LIBDIR=… INCLUDEDIR=… MANDIR=…   the C library; make uninstall with the same
# make cli    the command line, target/release/atomkv; cargo install --path atomkv-cli installs it
# make examples   the tour of examples/ in every language that this machine runs
# make node   the Node binding, ready for `npm install ./bindings/node`; make bench-node measures it
# make python builds the Python binding, make bench-python measures it.
# The rest: lib, header, c-docs, abi-baseline, abi-check, test-sanitize, figures, figures-c, bench-report,
# bench-instructions, clean.

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The path of a checkout may hold blanks: what has to be absolute is quoted, and never a target of make, to which each
# word is a name.
ifneq ($(words x$(TARGET)x),1)
$(error CARGO_TARGET_DIR holds a blank: "$(TARGET)". Choose a path without)
endif
TARGET_PATH := $(if $(filter /%,$(TARGET)),$(TARGET),$(CURDIR)/$(TARGET))
RELEASE := $(TARGET)/release
DEMO := $(TARGET)/demo
# From where the Makefile of examples/c runs.
FROM_EXAMPLE := $(if $(filter /%,$(TARGET)),,../../)
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The ABI: the number in the library's soname.
ABI := 0

all: lib

# The C library, and the name by which programs find it at run time. Beside it, what its archive is linked with.
lib:
	@scripts/need.sh cargo cc
	@mkdir -p $(RELEASE) && touch $(RELEASE)/libatomkv.asked
	cargo rustc --release --locked -p atomkv-ffi --lib -- --print 'native-static-libs=$(TARGET_PATH)/release/native-static-libs'
	@ln -sf libatomkv.so $(RELEASE)/libatomkv.so.$(ABI)
	@mv $(RELEASE)/libatomkv.asked $(RELEASE)/libatomkv.built

# The command line.
cli:
	@scripts/need.sh cargo
	cargo build --release --locked -p atomkv-cli

demo: lib
	@scripts/need.sh gzip
	@mkdir -p $(DEMO)
	@$(MAKE) --no-print-directory -C examples/c OUTPUT=$(FROM_EXAMPLE)$(DEMO) ATOMKV_INCLUDE=../../include \
		ATOMKV_LIBDIR=$(FROM_EXAMPLE)$(RELEASE)
	@gzip -dc examples/data/unicode.jsonl.gz >$(DEMO)/unicode.jsonl
	@$(DEMO)/demo $(DEMO)/unicode.jsonl $(DEMO)/data

# The tour of examples/ in every language whose runtime is there; says which packages bring the others.
examples: lib
	@scripts/examples.sh

test:
	@scripts/need.sh cargo cc c++ python3 valgrind cmake pkg-config curl
	@scripts/test.sh

# Writes include/atomkv.h, .cdef, .json and atomkv-ffi/symbols.txt anew from the sources of atomkv-ffi.
header:
	ATOMKV_UPDATE_HEADER=1 cargo test --locked -q -p atomkv-ffi --test header

# The pages of the headers.
c-docs:
	@scripts/need.sh doxygen
	@mkdir -p $(TARGET)/c-docs
	ATOMKV_VERSION=$(VERSION) ATOMKV_DOCS=$(TARGET)/c-docs doxygen atomkv-ffi/Doxyfile
	@echo "$(TARGET)/c-docs/html/index.html"

# At a release: what programs compiled with it rely on, which later ones are held to by make test.
abi-baseline: header
	scripts/abi.py baseline include

# The same for the library as compiled with debug information, by abidiff; some minutes.
abi-check:
	@scripts/need.sh cargo cc abidiff
	scripts/abi-check.sh "$(TARGET_PATH)"

# The C tests under the sanitizers and race detectors, with a library that is instrumented too where a nightly Rust is
# there; some minutes.
test-sanitize: lib
	@scripts/need.sh cargo cc c++ clang valgrind pkg-config
	scripts/test-sanitize.sh "$(TARGET_PATH)"

# Rates, opening times and sizes beside std's HashMap and the raw disk, then what versions, scans, transactions, the
# change feed, imports and exports cost, a database in memory, and what the care of a database takes; some minutes.
figures:
	cargo run --release --locked -q -p atomkv-engine --example figures -- $(TARGET)/figures 1000000 5000000
	cargo run --release --locked -q -p atomkv-engine --example features -- $(TARGET)/figures 1000000
	cargo run --release --locked -q -p atomkv-engine --example care -- $(TARGET)/figures 1000000 5000000
	rm -rf $(TARGET)/figures

# What a get and a put through C cost beside the engine's own; some minutes.
figures-c: lib
	@scripts/need.sh cargo cc clang valgrind
	scripts/c-cost.sh "$(TARGET_PATH)"

# AtomKV beside LMDB, RocksDB, redb, fjall, emdb, SQLite and sled; writes docs/benchmarks.md and docs/benchmarks/*.svg.
# QUICK=1: few keys, some minutes. BENCH="--peers atomkv,lmdb --workloads get --keys 5000000": a selection; both leave
# docs alone and write to $(TARGET)/bench. Add `--append --results target/bench/results.jsonl --output docs` to a
# selection to measure that part of the page anew, or to split a long run.
BENCH_NAME := $(if $(QUICK),quick,$(if $(BENCH),selection,results))
BENCH_RESULTS := $(TARGET)/bench/$(BENCH_NAME).jsonl
BENCH_OUTPUT := $(if $(QUICK)$(BENCH),$(TARGET)/bench,docs)
BENCHMARK := $(RELEASE)/atomkv-bench

bench: benchmark
	$(BENCHMARK) run $(if $(QUICK),--quick) --results $(BENCH_RESULTS) --output $(BENCH_OUTPUT) \
		--data $(TARGET)/bench/data $(BENCH)

# Makes the page anew from what was measured before.
bench-report: benchmark
	$(BENCHMARK) report --results $(BENCH_RESULTS) --output $(BENCH_OUTPUT)

benchmark:
	@scripts/need.sh cargo cc c++ clang
	cargo build --release --locked -p atomkv-bench

# Instructions of a get, a put, a recovery and a compaction, counted by valgrind: the same on every run.
bench-instructions:
	@scripts/need.sh cargo cc valgrind
	scripts/instructions.sh "$(TARGET_PATH)"

# The Node binding: its tools, which need Node 18.15, and the native part for this machine, ready for
# `npm install ./bindings/node`.
node:
	@scripts/need.sh cargo cc node npm
	cd bindings/node && npm ci --loglevel=error --ignore-scripts && npm run --loglevel=error build

# Beside lmdb, classic-level and better-sqlite3, which needs Node 20, in one run; KEYS=1000000 for more keys.
bench-node: node
	@scripts/need.sh node=20
	cd bindings/node/bench && npm ci --loglevel=error --ignore-scripts
	# Compiled where it cannot be downloaded, with the headers beside Node if they are there.
	cd bindings/node/bench && prefix=$$(node -p "path.resolve(process.execPath, '../..')") && \
		{ [ ! -d "$$prefix/include/node" ] || export npm_config_nodedir="$$prefix"; } && \
		npm rebuild --loglevel=error --ignore-scripts=false better-sqlite3
	cd bindings/node/bench && node bench.mjs $(KEYS)

# The Python binding, in a virtual environment: $(TARGET)/python/venv/bin/python, then import atomkv.
python:
	@scripts/build-python.sh "$(TARGET_PATH)"
	@scripts/python-venv.sh $(TARGET)/python/venv
	@$(TARGET)/python/venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
		$(TARGET)/python/wheels/*.whl
	@echo "$(TARGET)/python/venv/bin/python has atomkv now"

# AtomKV beside lmdb, rocksdict, plyvel, sqlite3, dbm and diskcache in Python: the table of docs/python.md; some minutes.
bench-python: python
	@scripts/python-venv.sh $(TARGET)/python/venv bindings/python/bench/requirements.txt
	$(TARGET)/python/venv/bin/python bindings/python/bench/compare.py

clean:
	cargo clean

include atomkv-ffi/install.mk

.PHONY: all lib cli demo examples node python test header figures figures-c bench bench-report benchmark \
	bench-instructions bench-node bench-python c-docs abi-baseline abi-check test-sanitize clean
