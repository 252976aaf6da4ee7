"""``python -m atomkv``: hands over to the command line, if it is installed."""

import os
import shutil
import sys


def main() -> int:
    program = shutil.which("atomkv")
    if program is None:
        print(
            "the command line is a program of its own, atomkv, and is not installed (or not on PATH); "
            "this package is the library: import atomkv",
            file=sys.stderr,
        )
        return 127
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
