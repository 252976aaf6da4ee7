"""Documents as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from ._atomkv import StreamReader, StreamWriter, Written


class Reader(io.RawIOBase):
    """Reads a document by parts."""

    def __init__(self, reader: "StreamReader") -> None:
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._reader.length
        elif whence != io.SEEK_SET:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if offset < 0:
            raise ValueError(f"negative seek position {offset}")
        self._position = offset
        return offset

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self._reader.__reduce_ex__(_protocol)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        part = self._reader.read_at(self._position, len(view))
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
        super().close()


class Writer(io.RawIOBase):
    """Writes a document by parts; closing makes it visible, an exception in its ``with`` block gives it up."""

    #: What the document became, after :meth:`close`.
    written: Optional["Written"] = None

    def __init__(self, writer: "StreamWriter") -> None:
        self._writer = writer
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, part: Any) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        if isinstance(part, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        length = self._writer.append(part)
        self._position += length
        return length

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self._writer.__reduce_ex__(_protocol)

    def abort(self) -> None:
        """Gives up what was written."""
        self._writer.abort()
        super().close()

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.written = self._writer.finish()
        finally:
            super().close()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # Nobody has said that it is complete.
        if not self.closed:
            self.abort()
