#!/usr/bin/env python3
"""Measures AtomKV's port for clients of Redis against Redis, with redis-benchmark.

    scripts/redis_bench.py REDIS_PORT ATOMKV_PORT [ROUNDS]

The two take turns; of each test the medians are printed, and the ratio, which is what counts on a machine that others use.
Run both with the same durability, and each pinned as the other, for example `taskset -c 0`; the client takes core 1.
"""
import statistics
import subprocess
import sys

TESTS = [("get", 1, 60_000), ("set", 1, 60_000), ("get", 16, 600_000), ("set", 16, 600_000)]


def rate(port, test, pipeline, requests):
    command = ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-c", "50", "-P", str(pipeline), "-t", test]
    command += ["-n", str(requests), "-d", "100", "-r", "100000", "--csv"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.strip().splitlines()[-1].split(",")[1].strip('"'))


def main():
    ports = {"redis": sys.argv[1], "atomkv": sys.argv[2]}
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    for port in ports.values():
        rate(port, "set", 16, 400_000)
    for test, pipeline, requests in TESTS:
        rates = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                rates[name].append(rate(port, test, pipeline, requests))
        redis, atomkv = (statistics.median(rates[name]) for name in ports)
        print(f"{test} -P {pipeline}: redis {redis:.0f}/s, atomkv {atomkv:.0f}/s, ratio {atomkv / redis:.2f}", flush=True)


main()
