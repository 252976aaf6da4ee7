"""Random operations on a database and on a dict, compared after every step."""

import shutil
import tempfile
from typing import Any, Dict

import atomkv
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

KEYS = st.one_of(st.sampled_from([b"a", b"aa", b"ab", b"b", b"\xff"]), st.binary(min_size=1, max_size=4))
VALUES = st.one_of(st.binary(max_size=20), st.binary(min_size=3000, max_size=3000))


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = tempfile.mkdtemp()
        self.model: Dict[bytes, bytes] = {}
        self.snapshot: Any = None
        self.seen: Dict[bytes, bytes] = {}
        self.open()

    def open(self) -> None:
        self.db = atomkv.open(self.path + "/db", segment_bytes=(65536, 65536))
        self.t = self.db.table("t", ordered=True)

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.path)

    @rule(key=KEYS, value=VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        self.t[key] = value
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert (self.t.delete(key) is not None) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.t.get(key) == self.model.get(key) and (key in self.t) == (key in self.model)

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: bytes, value: bytes) -> None:
        assert self.t.setdefault(key, value) == self.model.setdefault(key, value)

    @rule(key=KEYS)
    def pop(self, key: bytes) -> None:
        assert self.t.pop(key, None) == self.model.pop(key, None)

    @rule(pairs=st.dictionaries(KEYS, VALUES, max_size=5))
    def put_many(self, pairs: Dict[bytes, bytes]) -> None:
        assert self.t.put_many(pairs) == len(pairs)
        self.model.update(pairs)

    @rule(pairs=st.dictionaries(KEYS, VALUES, max_size=5), key=KEYS)
    def transact(self, pairs: Dict[bytes, bytes], key: bytes) -> None:
        with self.db.transaction() as transaction:
            view = transaction[self.t]
            view.update(pairs)
            view.pop(key, None)
            self.model.update(pairs)
            self.model.pop(key, None)
            assert dict(view) == self.model

    @rule(start=KEYS, stop=KEYS, reverse=st.booleans())
    def scan(self, start: bytes, stop: bytes, reverse: bool) -> None:
        inside = sorted((pair for pair in self.model.items() if start <= pair[0] < stop), reverse=reverse)
        assert list(self.t.scan(start, stop, reverse=reverse)) == inside

    @rule(prefix=st.binary(max_size=2))
    def prefix(self, prefix: bytes) -> None:
        inside = sorted(pair for pair in self.model.items() if pair[0].startswith(prefix))
        assert list(self.t.prefix(prefix)) == inside

    @rule()
    def take_snapshot(self) -> None:
        self.snapshot, self.seen = self.db.snapshot(), dict(self.model)

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def look_back(self) -> None:
        assert dict(self.snapshot[self.t]) == self.seen

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.snapshot = None
        self.open()

    @rule()
    def compact(self) -> None:
        self.db.compact()

    @invariant()
    def all_is_the_same(self) -> None:
        assert len(self.t) == len(self.model) and list(self.t.items()) == sorted(self.model.items())


Model.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestModel = Model.TestCase
