# make demo   watch a C program load real documents, get killed while it writes, and lose nothing
# make test   everything that is tested
# make bench  the side-by-side benchmark against other stores; hours, or minutes with QUICK=1
# make python builds the Python binding, make bench-python measures it.
# The rest: lib, header, figures, bench-report, bench-instructions, install PREFIX=… DESTDIR=…, clean.

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
DEMO := $(TARGET)/demo
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The ABI: the number in the library's soname.
ABI := 0

all: lib

# The C library, and the name by which programs find it at run time.
lib:
	@scripts/need.sh cargo cc
	cargo build --release --locked -p atomkv-ffi
	@ln -sf libatomkv.so $(RELEASE)/libatomkv.so.$(ABI)

demo: lib
	@scripts/need.sh gzip
	@mkdir -p $(DEMO)
	@$(MAKE) --no-print-directory -C examples/c OUTPUT=$(abspath $(DEMO)) ATOMKV_INCLUDE=$(abspath include) \
		ATOMKV_LIBRARY=$(abspath $(RELEASE))
	@gzip -dc examples/data/unicode.jsonl.gz >$(DEMO)/unicode.jsonl
	@$(DEMO)/demo $(DEMO)/unicode.jsonl $(DEMO)/data

test:
	@scripts/need.sh cargo cc c++ python3 valgrind
	@scripts/test.sh

# Writes include/atomkv.h anew from the comments of atomkv-ffi.
header:
	ATOMKV_UPDATE_HEADER=1 cargo test --locked -q -p atomkv-ffi --test header

# Rates, opening times and sizes beside std's HashMap and the raw disk, then what versions, scans, transactions, the
# change feed, imports and exports cost, a database in memory, and what the care of a database takes; some minutes.
figures:
	cargo run --release --locked -q -p atomkv-engine --example figures -- $(TARGET)/figures 1000000 5000000
	cargo run --release --locked -q -p atomkv-engine --example features -- $(TARGET)/figures 1000000
	cargo run --release --locked -q -p atomkv-engine --example care -- $(TARGET)/figures 1000000 5000000
	rm -rf $(TARGET)/figures

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
	scripts/instructions.sh $(abspath $(TARGET))

# The Python binding, in a virtual environment: $(TARGET)/python/venv/bin/python, then import atomkv.
python:
	@scripts/build-python.sh $(abspath $(TARGET))
	@scripts/python-venv.sh $(TARGET)/python/venv
	@$(TARGET)/python/venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
		$(TARGET)/python/wheels/*.whl
	@echo "$(TARGET)/python/venv/bin/python has atomkv now"

# AtomKV beside lmdb, rocksdict, plyvel, sqlite3, dbm and diskcache in Python: the table of docs/python.md; some minutes.
bench-python: python
	@scripts/python-venv.sh $(TARGET)/python/venv bindings/python/bench/requirements.txt
	$(TARGET)/python/venv/bin/python bindings/python/bench/compare.py

install: lib
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 include/atomkv.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(RELEASE)/libatomkv.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(RELEASE)/libatomkv.so $(DESTDIR)$(PREFIX)/lib/libatomkv.so.$(VERSION)
	ln -sf libatomkv.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libatomkv.so.$(ABI)
	ln -sf libatomkv.so.$(ABI) $(DESTDIR)$(PREFIX)/lib/libatomkv.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' atomkv-ffi/atomkv.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/atomkv.pc

clean:
	cargo clean

.PHONY: all lib demo test header figures bench bench-report benchmark bench-instructions python bench-python install clean
