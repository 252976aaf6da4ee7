"""The services of a table: serializers, hashers, sharders, validators, compressors."""

from __future__ import annotations

import functools
import json as _json
import pickle as _pickle
import warnings
from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ._errors import PickleWarning


class Service:
    """A name, a version and functions. Name and version are stored when a table is created and checked at every opening;
    the version changes when the answers of the functions do."""

    __slots__ = ("name", "version", "functions")

    def __init__(self, name: str, version: int, *functions: Callable[..., Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be str, not {type(name).__name__}")
        if isinstance(version, bool) or not isinstance(version, int):
            raise TypeError(f"version must be int, not {type(version).__name__}")
        for function in functions:
            if not callable(function):
                raise TypeError(f"the functions of {name!r} must be callable, {function!r} is not")
        self.name: str = name
        self.version: int = version
        self.functions: Tuple[Callable[..., Any], ...] = functions

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, version={self.version})"


S = TypeVar("S", bound=Service)


class Serializer(Service):
    """How documents become values: ``dumps(document)`` gives bytes, ``loads(bytes)`` the document again.

    >>> import atomkv
    >>> upper = atomkv.Serializer("upper", lambda text: text.upper().encode(), lambda value: value.decode())
    >>> with atomkv.memory() as db:
    ...     names = db.table("names", serializer=upper)
    ...     names["ada"] = "lovelace"
    ...     names["ada"]
    'LOVELACE'
    """

    __slots__ = ()

    def __init__(
        self, name: str, dumps: Callable[[Any], Any], loads: Callable[[bytes], Any], *, version: int = 1
    ) -> None:
        super().__init__(name, version, dumps, loads)


class Hasher(Service):
    """``function(seed, key)`` gives an integer, of which 64 bits count; the same for the same arguments for ever.

    Costs a call of Python, some hundred nanoseconds, for each key of each operation.
    """

    __slots__ = ()

    def __init__(self, name: str, function: Callable[[int, bytes], int], *, version: int = 1) -> None:
        super().__init__(name, version, function)


class Sharder(Service):
    """``function(key, hash)`` gives the key's slot, 0 to 16,383; the same for the same arguments for ever.

    Costs a call of Python, some hundred nanoseconds, for each key of each operation.
    """

    __slots__ = ()

    def __init__(self, name: str, function: Callable[[bytes, int], int], *, version: int = 1) -> None:
        super().__init__(name, version, function)


class Validator(Service):
    """``function(key)`` gives ``None``, or the reason to refuse the key as ``str``; or it raises.

    Costs a call of Python, some hundred nanoseconds, for each key of each operation.
    """

    __slots__ = ()

    def __init__(self, name: str, function: Callable[[bytes], Optional[str]], *, version: int = 1) -> None:
        super().__init__(name, version, function)


class Compressor(Service):
    """``compress(value)`` gives the stored form, or ``None`` if it does not pay; ``decompress(stored)`` the value.

    Costs a call of Python for each value that is written or read.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        compress: Callable[[bytes], Optional[bytes]],
        decompress: Callable[[bytes], bytes],
        *,
        version: int = 1,
    ) -> None:
        super().__init__(name, version, compress, decompress)


def _json_dumps(document: Any) -> bytes:
    text = _json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def _serializer_named(name: str) -> Optional[Serializer]:
    if name == "bytes":
        return None
    if name == "json":
        return Serializer("json", _json_dumps, _json.loads)
    if name == "orjson":
        try:
            import orjson
        except ImportError:
            raise ImportError("the serializer 'orjson' needs the package orjson: pip install orjson") from None
        # JSON as well, and so the same name; what it takes differs a little.
        return Serializer("json", orjson.dumps, orjson.loads)
    if name == "msgpack":
        try:
            import msgpack  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise ImportError("the serializer 'msgpack' needs the package msgpack: pip install msgpack") from None
        # Else maps would be stored whose keys are numbers, and not be read.
        return Serializer("msgpack", msgpack.packb, functools.partial(msgpack.unpackb, strict_map_key=False))
    if name == "pickle":
        warnings.warn(
            "a table with the serializer 'pickle' runs the code that is in its values when they are read: "
            "open only databases that nobody else can write to, or use 'json' or 'msgpack'",
            PickleWarning,
            stacklevel=4,
        )
        return Serializer("python-pickle", lambda document: _pickle.dumps(document, protocol=4), _pickle.loads)
    raise ValueError(
        f"there is no serializer named {name!r}; there are 'bytes', 'json', 'orjson', 'msgpack' and 'pickle', "
        "and atomkv.Serializer makes one of two functions"
    )


#: What may be given as a serializer: a name, a :class:`Serializer`, or a pair of callables.
SerializerLike = Union[str, Serializer, Tuple[Callable[[Any], Any], Callable[[bytes], Any]]]


def serializer_of(serializer: Optional[SerializerLike]) -> Optional[Serializer]:
    """The serializer that is meant; ``None`` for plain bytes."""
    if serializer is None or isinstance(serializer, Serializer):
        return serializer
    if isinstance(serializer, str):
        return _serializer_named(serializer)
    if isinstance(serializer, tuple) and len(serializer) == 2 and all(map(callable, serializer)):
        return Serializer("custom", serializer[0], serializer[1])
    raise TypeError(
        "serializer must be a name, an atomkv.Serializer or a pair of callables (dumps, loads), "
        f"not {type(serializer).__name__}"
    )


def service_of(kind: str, wanted: Type[S], service: Union[None, str, S]) -> Union[None, str, S]:
    """The same, if it is one of that kind."""
    if service is None or isinstance(service, str) or isinstance(service, wanted):
        return service
    raise TypeError(f"{kind} must be a name or an atomkv.{wanted.__name__}, not {type(service).__name__}")
