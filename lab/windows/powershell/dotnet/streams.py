"""Streams of bytes and text that are no files, tasks that read them, digests."""

from __future__ import annotations

import codecs
import hashlib
import io
import threading
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from ..errors import NetException
from ..numbers import fit
from ..typesystem import DotNetType, EnumType, Property, method
from .primitives import OBJECT, composite
from .text import Encoding, utf8


class Stream:
    """A stream of bytes. Other packages may derive from it for files and pipes.

    Subclasses give `read` (up to `count` bytes, empty at the end), `write`, and what else they can do.
    """

    can_read = True
    can_write = False
    can_seek = False

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; empty at the end. Waits for one at least."""
        raise NetException("System.NotSupportedException", "Stream does not support reading.")

    def write(self, data: bytes) -> None:
        """Writes all bytes."""
        raise NetException("System.NotSupportedException", "Stream does not support writing.")

    def flush(self) -> None:
        """Passes on what is held back."""

    def close(self) -> None:
        """Closes it; more than once is no error."""


class HostStream(Stream):
    """Standard input, output or error of the process."""

    def __init__(self, *, source: BinaryIO | None = None, sink: Callable[[bytes], None] | None = None) -> None:
        self.source = source
        self.sink = sink
        self.can_read = source is not None
        self.can_write = sink is not None

    def read(self, count: int) -> bytes:
        """What is there, up to `count` bytes."""
        if self.source is None:
            return super().read(count)
        read1 = getattr(self.source, "read1", None)
        return bytes(read1(count) if read1 else self.source.read(count)) if count else b""

    def write(self, data: bytes) -> None:
        """Writes at once."""
        if self.sink is None:
            super().write(data)
        else:
            self.sink(data)


class MemoryStream(Stream):
    """Bytes in memory."""

    can_write = True
    can_seek = True

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self.buffer = io.BytesIO(bytes(data))

    def read(self, count: int) -> bytes:
        """From the position on."""
        return self.buffer.read(count)

    def write(self, data: bytes) -> None:
        """At the position."""
        self.buffer.write(data)

    def position(self) -> int:
        """Where reading and writing go on."""
        return self.buffer.tell()

    def seek(self, position: int) -> None:
        """Moves there."""
        self.buffer.seek(position)

    def length(self) -> int:
        """All bytes."""
        return self.buffer.getbuffer().nbytes


class GZipStream(Stream):
    """Compresses into, or decompresses from, another stream."""

    def __init__(self, inner: Stream, mode: Any, leave_open: bool = False) -> None:
        self.inner = inner
        self.leave_open = leave_open
        self.closed = False
        if str(mode) == "Compress":
            self.can_read, self.can_write = False, True
            self.packer = zlib.compressobj(wbits=31)
        else:
            self.unpacker = zlib.decompressobj(wbits=31)
        self.rest = b""

    def read(self, count: int) -> bytes:
        """Decompressed bytes."""
        if not self.can_read:
            return super().read(count)
        try:
            while not self.rest:
                data = self.unpacker.unconsumed_tail or self.inner.read(65536)
                if not data:
                    return b""
                self.rest = self.unpacker.decompress(data, 1 << 20)
        except zlib.error as error:
            raise NetException(
                "System.IO.InvalidDataException",
                "The magic number in GZip header is not correct. Make sure you are passing in a GZip stream.",
            ) from error
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def write(self, data: bytes) -> None:
        """Bytes to compress."""
        if not self.can_write:
            super().write(data)
            return
        self.inner.write(self.packer.compress(data))

    def close(self) -> None:
        """Ends the compressed data, and closes the other stream."""
        if self.closed:
            return
        self.closed = True
        if self.can_write:
            self.inner.write(self.packer.flush())
        if not self.leave_open:
            self.inner.close()


class Task:
    """Work that goes on in a thread of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.failure: NetException | None = None

        def run() -> None:
            try:
                self.value = work()
            except NetException as error:
                self.failure = error
            finally:
                self.done.set()

        threading.Thread(target=run, daemon=True, name="task").start()

    def wait(self, milliseconds: int | None = None) -> bool:
        """Whether it ended in time; without a limit always."""
        ended = self.done.wait(None if milliseconds is None or milliseconds < 0 else milliseconds / 1000)
        if ended and self.failure:
            raise NetException("System.AggregateException", "One or more errors occurred.", self.failure)
        return ended

    def result(self) -> Any:
        """Waits for the result."""
        self.wait()
        return self.value


def _fill(stream: Stream, buffer: bytearray, start: int, count: int) -> int:
    if start < 0 or count < 0 or start + count > len(buffer):
        raise NetException(
            "System.ArgumentException",
            "Offset and length were out of bounds for the array or count is greater than the number of "
            "elements from index "
            "to the end of the source collection.",
        )
    data = stream.read(count)
    buffer[start : start + len(data)] = data
    return len(data)


def _read_byte(stream: Stream) -> int:
    data = stream.read(1)
    return data[0] if data else -1


def _copy(stream: Stream, other: Stream, size: int = 81920) -> None:
    while True:
        data = stream.read(size)
        if not data:
            return
        other.write(data)


def _seekable(stream: Stream, name: str) -> Any:
    found = getattr(stream, name, None)
    if found is None:
        raise NetException("System.NotSupportedException", "Stream does not support seeking.")
    return found


STREAM = DotNetType(
    "System.IO.Stream",
    base=OBJECT,
    interfaces=("System.IDisposable",),
    python=Stream,
    members={
        "Read": method(_fill, "byte[]", "int", "int"),
        "ReadAsync": method(
            lambda stream, buffer, start, count: Task(lambda: _fill(stream, buffer, start, count)),
            "byte[]",
            "int",
            "int",
        ),
        "ReadByte": method(_read_byte),
        "Write": method(
            lambda stream, data, start, count: stream.write(bytes(data[start : start + count])), "byte[]", "int", "int"
        ),
        "WriteByte": method(lambda stream, byte: stream.write(bytes([byte])), "byte"),
        "CopyTo": method(_copy, "System.IO.Stream") | method(_copy, "System.IO.Stream", "int"),
        "Flush": method(lambda stream: stream.flush()),
        "Close": method(lambda stream: stream.close()),
        "Dispose": method(lambda stream: stream.close()),
        "CanRead": Property(lambda stream: stream.can_read),
        "CanWrite": Property(lambda stream: stream.can_write),
        "CanSeek": Property(lambda stream: stream.can_seek),
        "Length": Property(lambda stream: _seekable(stream, "length")()),
        "Position": Property(
            lambda stream: _seekable(stream, "position")(), lambda stream, at: _seekable(stream, "seek")(at), "long"
        ),
    },
)
HOST_STREAM = DotNetType("System.IO.__ConsoleStream", base=STREAM, python=HostStream)
MEMORY = DotNetType(
    "System.IO.MemoryStream",
    base=STREAM,
    python=MemoryStream,
    new=method(MemoryStream) | method(MemoryStream, "byte[]") | method(lambda size: MemoryStream(), "int"),
    members={"ToArray": method(lambda stream: bytearray(stream.buffer.getvalue()))},
)
COMPRESSION = EnumType("System.IO.Compression.CompressionMode", {"Decompress": 0, "Compress": 1})
GZIP = DotNetType(
    "System.IO.Compression.GZipStream",
    base=STREAM,
    python=GZipStream,
    new=method(GZipStream, "System.IO.Stream", COMPRESSION.name)
    | method(GZipStream, "System.IO.Stream", COMPRESSION.name, "bool"),
)
TASK = DotNetType(
    "System.Threading.Tasks.Task",
    base=OBJECT,
    python=Task,
    members={
        "Wait": method(lambda task: (task.wait(), None)[1]) | method(Task.wait, "int"),
        "Result": Property(Task.result),
        "IsCompleted": Property(lambda task: task.done.is_set()),
        "IsFaulted": Property(lambda task: task.done.is_set() and task.failure is not None),
    },
)


class Reader:
    """Text from a stream of bytes. A byte order mark is left out."""

    def __init__(self, stream: Stream, encoding: Encoding | None = None) -> None:
        self.stream = stream
        self.encoding = encoding or utf8()
        self.decoder = codecs.getincrementaldecoder(self.encoding.codec)("replace")
        self.text = ""
        self.ended = False
        self.first = True

    def _more(self) -> bool:
        if self.ended:
            return False
        data = self.stream.read(65536)
        self.ended = not data
        text = self.decoder.decode(data, self.ended)
        if self.first and text:
            text, self.first = text.removeprefix("\ufeff"), False
        self.text += text
        return True

    def to_end(self) -> str:
        """All that is left."""
        parts = [self.text]
        self.text = ""
        while self._more():
            parts.append(self.text)
            self.text = ""
        return "".join(parts)

    def line(self) -> str | None:
        """The next line without its end; None behind the last."""
        searched = 0
        while True:
            at = min(
                (found for found in (self.text.find("\n", searched), self.text.find("\r", searched)) if found >= 0),
                default=-1,
            )
            if at >= 0 and (self.text[at] == "\n" or at + 1 < len(self.text) or self.ended):
                end = at + 2 if self.text[at : at + 2] == "\r\n" else at + 1
                found, self.text = self.text[:at], self.text[end:]
                return found
            searched = max(0, len(self.text) - 1)
            if not self._more():
                found, self.text = self.text, ""
                return found or None

    def peek(self) -> int:
        """The next character's number, or -1."""
        while not self.text and self._more():
            pass
        return ord(self.text[0]) if self.text else -1

    def char(self) -> int:
        """Takes the next character; -1 at the end."""
        found = self.peek()
        self.text = self.text[1:]
        return found


class Writer:
    """Text into a stream of bytes; `sink` takes what is written."""

    def __init__(self, stream: Stream, encoding: Encoding | None = None) -> None:
        self.stream = stream
        self.encoding = encoding or utf8(bom=False)
        self.new_line = "\r\n"
        self.held: list[bytes] = [self.encoding.bom] if self.encoding.bom else []
        self.auto_flush = False

    def write(self, text: str) -> None:
        """Writes text."""
        self.held.append(bytes(self.encoding.encode(text)))
        if self.auto_flush:
            self.flush()

    def flush(self) -> None:
        """Passes on what is held back."""
        data, self.held = b"".join(self.held), []
        if data:
            self.stream.write(data)
        self.stream.flush()

    def close(self) -> None:
        """Flushes and closes the stream."""
        self.flush()
        self.stream.close()


TEXT_READER = DotNetType(
    "System.IO.TextReader",
    base=OBJECT,
    interfaces=("System.IDisposable",),
    python=Reader,
    members={
        "ReadToEnd": method(Reader.to_end),
        "ReadLine": method(Reader.line, nullable=True),
        "Read": method(Reader.char),
        "Peek": method(Reader.peek),
        "Close": method(lambda reader: reader.stream.close()),
        "Dispose": method(lambda reader: reader.stream.close()),
    },
)
STREAM_READER = DotNetType(
    "System.IO.StreamReader",
    base=TEXT_READER,
    python=Reader,
    new=method(Reader, "System.IO.Stream") | method(Reader, "System.IO.Stream", "System.Text.Encoding"),
    members={
        "EndOfStream": Property(lambda reader: reader.peek() < 0),
        "BaseStream": Property(lambda reader: reader.stream),
    },
)


def _write_format(writer: Writer, pattern: str, arguments: Any, end: str = "") -> None:
    writer.write(composite(pattern, arguments) + end)


TEXT_WRITER = DotNetType(
    "System.IO.TextWriter",
    base=OBJECT,
    interfaces=("System.IDisposable",),
    python=Writer,
    members={
        "Write": method(lambda writer, text: writer.write(text or ""), "string")
        | method(_write_format, "string", "params object[]"),
        "WriteLine": method(lambda writer: writer.write(writer.new_line))
        | method(lambda writer, text: writer.write((text or "") + writer.new_line), "string")
        | method(
            lambda writer, pattern, items: _write_format(writer, pattern, items, writer.new_line),
            "string",
            "params object[]",
        ),
        "Flush": method(Writer.flush),
        "Close": method(Writer.close),
        "Dispose": method(Writer.close),
        "NewLine": Property(
            lambda writer: writer.new_line, lambda writer, value: setattr(writer, "new_line", value), "string"
        ),
        "AutoFlush": Property(
            lambda writer: writer.auto_flush, lambda writer, value: setattr(writer, "auto_flush", value), "bool"
        ),
        "Encoding": Property(lambda writer: writer.encoding),
    },
)
STREAM_WRITER = DotNetType(
    "System.IO.StreamWriter",
    base=TEXT_WRITER,
    python=Writer,
    new=method(Writer, "System.IO.Stream") | method(Writer, "System.IO.Stream", "System.Text.Encoding"),
)


class Hash:
    """A digest algorithm, by Python's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.digest = b""
        self.running = hashlib.new(name)

    def compute(self, data: Any) -> bytearray:
        """The digest of bytes, or of a stream from its position to the end."""
        running = hashlib.new(self.name)
        if isinstance(data, Stream):
            while chunk := data.read(1 << 20):
                running.update(chunk)
        else:
            running.update(bytes(data))
        self.digest = running.digest()
        return bytearray(self.digest)

    def update(self, data: bytearray, start: int, count: int, output: object = None, at: int = 0) -> int:
        """TransformBlock: the number of bytes. The copy into `output` is not made."""
        self.running.update(bytes(data[start : start + count]))
        return count

    def finish(self, data: bytearray, start: int, count: int) -> bytearray:
        """TransformFinalBlock: the digest is in Hash then."""
        self.update(data, start, count)
        self.digest = self.running.digest()
        self.running = hashlib.new(self.name)
        return data[start : start + count]


def _compute_part(algorithm: Hash, data: bytearray, start: int, count: int) -> bytearray:
    return algorithm.compute(data[start : start + count])


def _hash_named(name: str) -> Hash | None:
    found = name.upper().replace("-", "")
    return Hash(found.lower()) if found in ("SHA256", "SHA1", "SHA512", "SHA384", "MD5") else None


HASH = DotNetType(
    "System.Security.Cryptography.HashAlgorithm",
    base=OBJECT,
    interfaces=("System.IDisposable",),
    python=Hash,
    statics={"Create": method(_hash_named, "string", nullable=True)},
    members={
        "ComputeHash": method(Hash.compute, "byte[]")
        | method(Hash.compute, "System.IO.Stream")
        | method(_compute_part, "byte[]", "int", "int"),
        "TransformBlock": method(Hash.update, "byte[]", "int", "int", "byte[]", "int"),
        "TransformFinalBlock": method(Hash.finish, "byte[]", "int", "int"),
        "Hash": Property(lambda algorithm: bytearray(algorithm.digest)),
        "HashSize": Property(lambda algorithm: algorithm.running.digest_size * 8),
        "Dispose": method(lambda algorithm: None),
        "Clear": method(lambda algorithm: None),
    },
)


def _algorithm(name: str) -> DotNetType:
    return DotNetType(
        f"System.Security.Cryptography.{name}",
        base=HASH,
        statics={"Create": method(lambda: Hash(name.lower()))},
    )


def _managed(name: str, kind: str) -> DotNetType:
    return DotNetType(f"System.Security.Cryptography.{name}", base=HASH, new=method(lambda: Hash(kind)))


def _reversed_hex(data: bytearray, start: int = 0, count: int | None = None) -> str:
    return "-".join(f"{byte:02X}" for byte in data[start : None if count is None else start + count])


def _number(size: int, *, signed: bool) -> Callable[[bytearray, int], int]:
    name = f"System.{'' if signed else 'U'}Int{size * 8}"

    def run(data: bytearray, start: int) -> int:
        return fit(int.from_bytes(data[start : start + size], "little", signed=signed), name)

    return run


BITS = DotNetType(
    "System.BitConverter",
    statics={
        "ToString": method(_reversed_hex, "byte[]") | method(_reversed_hex, "byte[]", "int", "int"),
        "GetBytes": method(lambda value: bytearray(int(value).to_bytes(4, "little", signed=True)), "int")
        | method(lambda value: bytearray(int(value).to_bytes(8, "little", signed=True)), "long")
        | method(lambda value: bytearray(int(value).to_bytes(8, "little")), "uint64")
        | method(lambda value: bytearray(int(value).to_bytes(4, "little")), "uint32"),
        "ToInt32": method(_number(4, signed=True), "byte[]", "int"),
        "ToInt64": method(_number(8, signed=True), "byte[]", "int"),
        "ToUInt16": method(_number(2, signed=False), "byte[]", "int"),
        "ToUInt32": method(_number(4, signed=False), "byte[]", "int"),
        "ToUInt64": method(_number(8, signed=False), "byte[]", "int"),
        "IsLittleEndian": Property(lambda: True),
    },
)

TYPES = [
    STREAM, HOST_STREAM, MEMORY, COMPRESSION, GZIP, TASK, TEXT_READER, STREAM_READER, TEXT_WRITER, STREAM_WRITER, HASH,
    *map(_algorithm, ("SHA256", "SHA1", "SHA512", "MD5")), _managed("SHA256Managed", "sha256"),
    _managed("SHA256CryptoServiceProvider", "sha256"), BITS,
]  # fmt: skip
