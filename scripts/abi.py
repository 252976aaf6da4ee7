#!/usr/bin/env python3
"""The binary interface of libatomkv, one line for each thing that a compiled program relies on.

usage: abi.py dump HEADERS | check HEADERS | baseline HEADERS

HEADERS is a directory with atomkv.h and atomkv.json. `dump` prints the lines: signatures of functions and callbacks,
numbers of constants and enumerations, sizes and offsets of structures. The sizes are those that the C compiler (CC,
default cc) finds, and it checks the signatures against the header on the way. `check` fails if a line of the last
release, atomkv-ffi/abi.txt, is there no more: what is added passes. `baseline` writes that file, which is done when a
release is made. Things that say "Unstable" may change and are left out.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

BASELINE = pathlib.Path(__file__).resolve().parent.parent / "atomkv-ffi" / "abi.txt"
# Where a release's numbers stand: they change without harm.
VERSIONS = {"ATOMKV_VERSION_MAJOR", "ATOMKV_VERSION_MINOR", "ATOMKV_VERSION_PATCH"}


def stable(items):
    return [item for item in items if not item.get("unstable")]


def signature(function, name):
    parameters = ", ".join(parameter["type"] for parameter in function["parameters"]) or "void"
    return f"{function['result']['type']} {name}({parameters})"


def probe(described):
    """A C program that prints the lines. It does not compile if the description says other than the header."""
    out = ["#include <stdio.h>", "#include <stddef.h>", "#include <inttypes.h>", '#include "atomkv.h"']
    body = []

    def line(text, *values):
        formats = "".join(f", (intmax_t)({value})" for value in values)
        body.append(f'    printf("{text}\\n"{formats});')

    line(f"soname {described['soname']}")
    for constant in described["constants"]:
        if constant["name"] in VERSIONS:
            continue
        if constant["value"].startswith('"'):
            body.append(f'    printf("constant {constant["name"]} %s\\n", {constant["name"]});')
        else:
            line(f"constant {constant['name']} %jd", constant["name"])
    for enum in stable(described["enums"]):
        line(f"type {enum['name']} {enum['type']} size %jd", f"sizeof({enum['name']})")
        for value in enum["values"]:
            line(f"value {value['name']} %jd", value["name"])
    for alias in described["aliases"]:
        line(f"type {alias['name']} {alias['type']}")
    for opaque in stable(described["opaque"]):
        line(f"handle {opaque['name']}")
    for struct in stable(described["structs"]):
        name = struct["name"]
        line(f"struct {name} size %jd", f"sizeof({name})")
        for field in struct["fields"]:
            place = f"offsetof({name}, {field['name']})", f"sizeof((({name} *)0)->{field['name']})"
            line(f"field {name}.{field['name']} {field['type']} offset %jd size %jd", *place)
    for callback in stable(described["callbacks"]):
        same = signature(callback, "(**same)")
        out.append(f"void check_{callback['name']}({callback['name']} function, {same}) {{ *same = function; }}")
        line(f"callback {signature(callback, callback['name'])}")
    for function in stable(described["functions"]):
        out.append(f"extern {signature(function, function['name'])};")
        line(f"function {signature(function, function['name'])}")
    return "\n".join([*out, "int main(void)", "{", *body, "    return 0;", "}", ""])


def dump(headers):
    described = json.loads((headers / "atomkv.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        source = pathlib.Path(work) / "probe.c"
        source.write_text(probe(described))
        program = source.with_suffix("")
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, "-std=c99", "-Wall", "-Werror", f"-I{headers}", source, "-o", program], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return sorted(printed.splitlines())


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("dump", "check", "baseline"):
        sys.exit(__doc__)
    lines = dump(pathlib.Path(sys.argv[2]))
    if sys.argv[1] == "dump":
        print("\n".join(lines))
    elif sys.argv[1] == "baseline":
        BASELINE.write_text("\n".join(lines) + "\n")
    else:
        released = BASELINE.read_text().splitlines()
        present = set(lines)
        gone = [line for line in released if line not in present]
        for line in gone:
            print(f"released, but changed or removed: {line}")
        print(f"ABI: {len(released)} released lines, {len(present - set(released))} added, {len(gone)} broken")
        if gone:
            print("A compiled program would break. Bring it back, or raise the number of the soname and run"
                  " `make abi-baseline`.")
            sys.exit(1)


if __name__ == "__main__":
    main()
