"""A cache whose entries expire, as a decorator."""

import functools
import tempfile
import time
from typing import Any, Callable

import atomkv


def cached(table: Any, ttl: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keeps what a function returns for so many seconds, across restarts of the program."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            key = f"{function.__name__}{arguments!r}"
            entry = table.get_entry(key)
            if entry is not None:
                return entry.value
            value = function(*arguments)
            table.put(key, value, ttl=ttl)
            return value

        return call

    return decorate


with tempfile.TemporaryDirectory() as directory, atomkv.open(directory + "/cache") as db:
    calls = 0

    @cached(db.table("cache", serializer="json"), ttl=2)
    def weather(town: str) -> dict:
        global calls
        calls += 1
        return {"town": town, "degrees": 20 + calls}

    print(weather("Bath"), weather("Bath"))
    time.sleep(2.1)
    print(weather("Bath"), f"{calls} calls")
    assert calls == 2
