#!/usr/bin/env python3
"""Writes examples/data/unicode.jsonl.gz: one JSON document for each Unicode character that has a name of its own.

The data comes from the Python standard library (`unicodedata`), so the result depends on its Unicode version; the
committed file says which one it was made from. Ideographs and syllables whose names are computed from their numbers
(CJK unified, Tangut, Nushu, Khitan and Hangul) are left out: they would be 120,000 documents that say nothing.

usage: scripts/make_demo_data.py [OUTPUT]
"""

from __future__ import annotations

import gzip
import json
import pathlib
import sys
import unicodedata

COMPUTED = (
    "CJK UNIFIED IDEOGRAPH-",
    "CJK COMPATIBILITY IDEOGRAPH-",
    "TANGUT IDEOGRAPH-",
    "TANGUT COMPONENT-",
    "NUSHU CHARACTER-",
    "KHITAN SMALL SCRIPT CHARACTER-",
    "HANGUL SYLLABLE ",
)


def document(number: int) -> dict | None:
    """What is known of a character, without what is the same for nearly all."""
    character = chr(number)
    name = unicodedata.name(character, "")
    if not name or name.startswith(COMPUTED):
        return None
    known = {
        "code": f"U+{number:04X}",
        "name": name,
        "category": unicodedata.category(character),
        "bidirectional": unicodedata.bidirectional(character),
        "width": unicodedata.east_asian_width(character),
        "utf8": character.encode("utf-8", "surrogatepass").hex(),
    }
    optional = {
        "combining": unicodedata.combining(character) or None,
        "mirrored": bool(unicodedata.mirrored(character)) or None,
        "decomposition": unicodedata.decomposition(character) or None,
        "numeric": unicodedata.numeric(character, None),
        "upper": character.upper() if character.upper() != character else None,
        "lower": character.lower() if character.lower() != character else None,
    }
    known.update({field: value for field, value in optional.items() if value is not None})
    return known


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "examples/data/unicode.jsonl.gz"
    documents = [found for found in map(document, range(sys.maxunicode + 1)) if found]
    lines = "".join(json.dumps(found, separators=(",", ":")) + "\n" for found in documents)
    # No time and no name in the header: the same data gives the same file.
    with open(output, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(lines.encode("ascii"))
    print(f"{output}: {len(documents)} documents, Unicode {unicodedata.unidata_version}, {len(lines)} bytes unpacked")


if __name__ == "__main__":
    main()
