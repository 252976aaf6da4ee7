"""Bulk load and export: rows of pandas or pyarrow in, a table out, and CSV for everybody else.

Needs pandas and pyarrow for all of it; shows what it can without them."""

import sys
import tempfile

import atomkv

with tempfile.TemporaryDirectory() as directory, atomkv.open(directory + "/data") as db:
    towns = db.table("towns", serializer="json", ordered=True, text_keys=True)
    rows = [{"id": f"{number:06}", "name": f"town {number}", "people": number * 7} for number in range(10_000)]

    # A generator of pairs is the fastest way in.
    towns.put_many((row["id"], row) for row in rows)
    print(len(towns), "rows, the first:", next(iter(towns.values())))

    db.table("towns").export(directory + "/towns.jsonl")
    print(db["copy"].load(directory + "/towns.jsonl").records, "records came back from JSON Lines")

    try:
        import pandas
        import pyarrow
    except ImportError:
        print("install pandas and pyarrow to see the rest", file=sys.stderr)
        sys.exit()

    frame = pandas.DataFrame.from_records(list(towns.values()), index="id")
    print(frame["people"].describe()["max"])
    frame["people"] += 1
    towns.put_many((key, {"id": key, **row}) for key, row in frame.to_dict("index").items())

    arrow = pyarrow.Table.from_pylist(list(towns.scan("000010", "000020", part="values")))
    print(arrow.num_rows, arrow.column("people").to_pylist())
    # Whole record batches as values, without a copy on the way back:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    db["batches"]["first"] = sink.getvalue()
    view = db["batches"].view("first")
    assert pyarrow.ipc.open_stream(pyarrow.py_buffer(view)).read_all() == arrow
