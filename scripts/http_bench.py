#!/usr/bin/env python3
"""Measures the service beside a bare handler of axum (reads) and etcd (durable writes), with wrk.

usage: scripts/http_bench.py [--rounds N] [--seconds N] [--directory DIR]

Servers run on processor 0, the client on processor 1, and take turns; the medians are printed, and the ratios, which are what
counts on a machine that others use. 50 connections, values of 100 bytes, 100,000 keys at random. Builds what it measures; needs
wrk, and etcd for the writes (Debian: apt-get install wrk etcd-server).
"""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

KEYS = 100_000
CONNECTIONS = 50
VALUE = "v" * 100

# What wrk asks for, and what it tells at the end.
SCRIPT = """
local random = math.random
wrk.headers["Content-Type"] = "%(type)s"
request = function() %(request)s end
done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("RESULT %%f %%d %%d %%d %%d\\n", summary.requests * 1e6 / summary.duration,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), failed))
end
"""
GET = f'return wrk.format("GET", "/v1/tables/t/documents/" .. random(0, {KEYS - 1}))'
PUT = f'return wrk.format("PUT", "/v1/tables/t/documents/" .. random(0, {KEYS - 1}), nil, "{VALUE}")'
# etcd's gateway takes JSON with keys and values in base64: digits without padding are some.
# As many bytes in base64.
ETCD_VALUE = "v" * ((len(VALUE) + 2) // 3 * 4)
ETCD = (
    'return wrk.format("POST", "/v3/kv/put", nil, '
    f"'{{\"key\":\"' .. string.format(\"%08d\", random(0, {KEYS - 1})) .. '\",\"value\":\"{ETCD_VALUE}\"}}')"
)


def free_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


class Server:
    """A process on processor 0, which answers at its address when this returns."""

    def __init__(self, command, address, log):
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command], stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        self.address = address
        host, port = address.split(":")
        for _ in range(200):
            try:
                socket.create_connection((host, int(port))).close()
                return
            except OSError:
                time.sleep(0.1)
        self.end()
        sys.exit(f"{command[0]} does not listen; its output is in {log.name}")

    def ask(self, method, path, body=None, media_type="application/json"):
        request = urllib.request.Request(f"http://{self.address}{path}", body, {"Content-Type": media_type}, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def end(self):
        self.process.terminate()
        self.process.stdin.close()
        self.process.wait()


def load(server, script, seconds):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["taskset", "-c", "1", "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", file.name]
        out = subprocess.run([*command, f"http://{server.address}"], check=True, capture_output=True, text=True).stdout
    rate, p50, p99, p999, failed = map(float, re.search(r"RESULT (.*)", out)[1].split())
    if failed:
        sys.exit(f"{failed:.0f} requests failed")
    return rate, p50, p99, p999


def compare(what, servers, rounds, seconds):
    figures = {name: [] for name in servers}
    for name, (server, script) in servers.items():
        load(server, script, 1)
    for _ in range(rounds):
        for name, (server, script) in servers.items():
            figures[name].append(load(server, script, seconds))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    for name, (rate, p50, p99, p999) in medians.items():
        print(f"{what:<12} {name:<10} {rate:>9,.0f}/s   p50 {p50:>6,.0f} us   p99 {p99:>6,.0f} us   p99.9 {p999:>7,.0f} us")
    names = list(medians)
    for other in names[1:]:
        print(f"{what:<12} {names[0]} / {other}: {medians[names[0]][0] / medians[other][0]:.2f}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--directory", help="where the data goes: a folder on the disk that is to be measured")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed (Debian: apt-get install wrk)")
    build = ["cargo", "build", "--release", "--locked", "-q", "--message-format=json"]
    programs = {}
    for what in (["-p", "atomkv-cli"], ["-p", "atomkv-server", "--example", "bare"]):
        out = subprocess.run([*build, *what], check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in filter(None, out.splitlines()):
            message = json.loads(line)
            if message.get("executable"):
                programs[message["target"]["name"]] = message["executable"]
    servers = []
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder, contextlib.ExitStack() as stack:
        try:
            log = stack.enter_context(open(f"{folder}/log", "w"))
            address = free_address()
            # A line for each request is not what is measured.
            serve = [programs["atomkv"], "serve", f"{folder}/db", "--listen", address, "--log", "warn"]
            atomkv = Server(serve, address, log)
            servers.append(atomkv)
            print(f"idle memory: atomkv {atomkv.resident_mib():.1f} MiB")
            atomkv.ask("PUT", "/v1/tables/t", b'{"partitions": 16}')
            for start in range(0, KEYS, 1000):
                puts = [{"op": "put", "table": "t", "key": str(key), "value": VALUE} for key in range(start, start + 1000)]
                atomkv.ask("POST", "/v1/batch", json.dumps({"operations": puts}).encode())
            address = free_address()
            bare = Server([programs["bare"], address, str(KEYS)], address, log)
            servers.append(bare)
            get = SCRIPT % {"type": "application/octet-stream", "request": GET}
            put = SCRIPT % {"type": "application/octet-stream", "request": PUT}
            compare("GET", {"atomkv": (atomkv, get), "bare axum": (bare, get)}, arguments.rounds, arguments.seconds)
            writers = {"atomkv": (atomkv, put)}
            if shutil.which("etcd"):
                client, peer = f"http://{free_address()}", f"http://{free_address()}"
                command = ["etcd", f"--data-dir={folder}/etcd", f"--initial-cluster=default={peer}"]
                command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
                command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
                etcd = Server(command, client.removeprefix("http://"), log)
                servers.append(etcd)
                # It listens before it has a leader.
                time.sleep(3)
                writers["etcd"] = (etcd, SCRIPT % {"type": "application/json", "request": ETCD})
            else:
                print("etcd is not installed (Debian: apt-get install etcd-server): writes are not compared")
            compare("PUT durable", writers, arguments.rounds, arguments.seconds)
        finally:
            for server in servers:
                server.end()


if __name__ == "__main__":
    main()
