#!/usr/bin/env python3
"""Measures AtomKV's port for clients of Redis against Redis, with redis-benchmark.

    scripts/redis_bench.py REDIS_PORT ATOMKV_PORT [ROUNDS [SCALE]]

The two take turns; of each test the medians are printed, with the processor time that the server took for a command, and the
ratio, which is what counts on a machine that others use. Run both on the same file system, with the same durability, and each
pinned as the other, for example `taskset -c 0`; the client takes core 1. SCALE 0.1 sends a tenth of the commands.
"""
import os
import statistics
import subprocess
import sys

TESTS = [("get", 1, 60_000), ("set", 1, 60_000), ("get", 16, 600_000), ("set", 16, 600_000)]


def process(port):
    command = ["redis-cli", "-p", port, "info", "server"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(line.split(":")[1] for line in out.splitlines() if line.startswith("process_id:"))


def processor_seconds(process_id):
    with open(f"/proc/{process_id}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port, test, pipeline, requests):
    """The commands per second, and the server's microseconds of processor time per command."""
    process_id = process(port)
    command = ["taskset", "-c", "1", "redis-benchmark", "-p", port, "-c", "50", "-P", str(pipeline), "-t", test]
    command += ["-n", str(requests), "-d", "100", "-r", "100000", "--csv"]
    before = processor_seconds(process_id)
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took = processor_seconds(process_id) - before
    return float(out.strip().splitlines()[-1].split(",")[1].strip('"')), took / requests * 1e6


def main():
    ports = {"redis": sys.argv[1], "atomkv": sys.argv[2]}
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    scale = float(sys.argv[4]) if len(sys.argv) > 4 else 1
    for port in ports.values():
        measure(port, "set", 16, int(400_000 * scale))
    for test, pipeline, requests in TESTS:
        found = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                found[name].append(measure(port, test, pipeline, int(requests * scale)))
        rates = {name: statistics.median(rate for rate, _ in each) for name, each in found.items()}
        times = {name: statistics.median(time for _, time in each) for name, each in found.items()}
        each = ", ".join(f"{name} {rates[name]:.0f}/s {times[name]:.1f} us" for name in ports)
        print(f"{test} -P {pipeline}: {each}, ratio {rates['atomkv'] / rates['redis']:.2f}", flush=True)


main()
