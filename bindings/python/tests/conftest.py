"""A database in a directory of its own for each test."""

import pathlib
from typing import Any, Iterator

import atomkv
import pytest


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "db"


@pytest.fixture
def db(path: pathlib.Path) -> Iterator[atomkv.Database]:
    with atomkv.open(path) as database:
        yield database


@pytest.fixture
def t(db: atomkv.Database) -> "atomkv.Table[Any, Any]":
    return db["t"]


@pytest.fixture
def ordered(db: atomkv.Database) -> "atomkv.Table[Any, Any]":
    return db.table("ordered", ordered=True)
