"""Groups B and H at the weights: relocation, minted keys, truncation, memory; each with the mutant that lets it through."""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope import weights, weights_frames, weights_header, weights_source
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_buffer import WeightsBuffer
from pcrgate.envelope.weights_digest import WeightsExpectation
from pcrgate.envelope.weights_header import parse_header
from pcrgate.envelope.weights_source import MemorySource
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.units import Sha384
from tests.attacks.mutants import mutant, succeeds
from tests.unit.envelope.sealed import CONTEXT, Chunked, expectation, keys, opener, sdk, seal

FRAME = 4096
BUDGET = 1 << 26
PLAINTEXT = os.urandom(8 * FRAME)
SEALED = seal(PLAINTEXT)
EXPECTED = expectation(SEALED, PLAINTEXT)
HEADER_BYTES = len(parse_header(io.BytesIO(SEALED).read).raw)
Check = tuple[ModuleType, str, str]


def load(sealed: bytes, expected: WeightsExpectation = EXPECTED, **options: Any) -> bytes:
    with open_weights(MemorySource(sealed), expected, opener=opener(), max_plaintext_bytes=BUDGET, **options) as buffer:
        return bytes(buffer.view())


def derived_key(sealed: bytes) -> AESGCM:
    """Return the frames' key, as somebody has it who once was released it, or made it."""
    return AESGCM(opener().open_header(sealed[:HEADER_BYTES]).derived_key)


def forged_body(frames: dict[int, bytes]) -> bytes:
    """Return SEALED with frames replaced by ones forged under its key."""
    edited = bytearray(SEALED)
    cipher = derived_key(SEALED)
    for number, content in frames.items():
        iv = number.to_bytes(12, "big")
        aad = SEALED[3:35] + b"AWSKMSEncryptionClient Frame" + struct.pack(">IQ", number, FRAME)
        start = HEADER_BYTES + (number - 1) * (FRAME + 32)
        edited[start : start + FRAME + 32] = struct.pack(">I", number) + iv + cipher.encrypt(iv, content, aad)
    return bytes(edited)


# B3: the parent may encrypt under the KMS key, so it mints a message with a data key it knows, under the right context.
MINTED_PLAINTEXT = b"evil" * (len(PLAINTEXT) // 4)
MINTED = seal(MINTED_PLAINTEXT)
SKIP_DIGESTS: tuple[tuple[ModuleType, str, str], ...] = (
    (weights_header, "not hmac.compare_digest(header.sha384.digest, expected.digest)", "False"),
    (weights, "not hmac.compare_digest(frames_sha384, expectation.frames_sha384.digest)", "False"),
)


def test_b3_a_minted_message_is_refused_before_kms_is_asked() -> None:
    before = keys().asked
    with pytest.raises(ReleaseError) as caught:
        load(MINTED, hash_plaintext=False)
    assert caught.value.code is ErrorCode.WEIGHTS_DIGEST
    assert keys().asked == before


def test_b3_without_the_digests_it_is_loaded() -> None:
    (module, old, new), (module2, old2, new2) = SKIP_DIGESTS
    with mutant(module, old, new):
        assert not succeeds(lambda: load(MINTED, hash_plaintext=False))  # the frames' digest is the second line
        with mutant(module2, old2, new2):
            assert load(MINTED, hash_plaintext=False) == MINTED_PLAINTEXT
            assert not succeeds(lambda: load(MINTED))  # and the plaintext's the third


# Somebody who knows the data key can forge frames under the signed header; only a digest over all bytes stops that.
def test_a_leaked_data_key_does_not_help_against_the_plaintext_digest() -> None:
    forged = forged_body({2: b"\x00" * FRAME})
    with pytest.raises(ReleaseError) as caught:
        load(forged)
    assert caught.value.code is ErrorCode.WEIGHTS_DIGEST
    tags_kept = replace(EXPECTED, frames_sha384=expectation(forged, PLAINTEXT).frames_sha384)
    with pytest.raises(ReleaseError) as caught:  # as if the tags had been made to collide, which the key allows
        load(forged, tags_kept)
    assert caught.value.code is ErrorCode.WEIGHTS_DIGEST


def test_without_hashing_a_leaked_data_key_forges_what_the_adr_says_it_forges() -> None:
    forged = forged_body({2: b"\x00" * FRAME})
    tags_kept = replace(EXPECTED, frames_sha384=expectation(forged, PLAINTEXT).frames_sha384)
    assert load(forged, tags_kept, hash_plaintext=False) != PLAINTEXT
    with mutant(
        weights,
        "plaintext_sha384 is not None and not hmac.compare_digest(plaintext_sha384, expectation.plaintext_sha384.digest)",
        "False",
    ):
        assert load(forged, tags_kept) != PLAINTEXT


def frame(number: int) -> bytes:
    start = HEADER_BYTES + (number - 1) * (FRAME + 32)
    return SEALED[start : start + FRAME + 32]


BODY = [frame(number) for number in range(1, 8)]
LAST = SEALED[HEADER_BYTES + 7 * (FRAME + 32) :]


def body(*frames: bytes, last: bytes = LAST) -> bytes:
    return SEALED[:HEADER_BYTES] + b"".join(frames) + last


def renumbered(stored: bytes, number: int) -> bytes:
    return struct.pack(">I", number) + number.to_bytes(12, "big") + stored[16:]


# B4: every relocation fails at the tag; the order checks before it only say it sooner.
MOVED = {
    "two frames exchanged": body(BODY[1], BODY[0], *BODY[2:]),
    "two frames exchanged and renumbered": body(renumbered(BODY[1], 1), renumbered(BODY[0], 2), *BODY[2:]),
    "one frame twice": body(BODY[0], renumbered(BODY[0], 2), *BODY[2:]),
    "a frame of another message of the same key": body(
        BODY[0], MINTED[HEADER_BYTES:][FRAME + 32 : 2 * (FRAME + 32)], *BODY[2:]
    ),
    "the final frame as a regular one": body(*BODY[:6], renumbered(LAST[8:24] + LAST[24:], 7)[: FRAME + 32]),
}


@pytest.mark.parametrize("name", MOVED)
def test_b4_relocated_frames_are_refused(name: str) -> None:
    for sealed in (MOVED[name],):
        with pytest.raises(ReleaseError) as caught:
            load(sealed)
        assert caught.value.code in {ErrorCode.WEIGHTS_FRAME, ErrorCode.WEIGHTS_TRUNCATED}


@pytest.mark.parametrize("name", ["two frames exchanged", "two frames exchanged and renumbered", "one frame twice"])
def test_b4_without_tag_and_order_they_would_be_taken(name: str) -> None:
    with (
        mutant(
            weights_frames,
            "if stored[at : at + len(head)] != head:",
            "if False:",
            (
                "        try:\n            decrypt_into(iv, body, aad, plaintext[out : out + length])\n        except InvalidTag:\n            raise _refused(number) from None\n",
                "        try:\n            decrypt_into(iv, body, aad, plaintext[out : out + length])\n        except InvalidTag:\n            pass\n",
            ),
        ),
        mutant(
            weights,
            "not hmac.compare_digest(frames_sha384, expectation.frames_sha384.digest)",
            "False",
        ),
    ):
        assert load(MOVED[name], hash_plaintext=False) != PLAINTEXT


ENDS: dict[str, tuple[bytes, Check]] = {
    "bytes after the end": (
        SEALED + b"more",
        (weights, "            self._feed.finish()\n", "\n"),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_wrong_end_is_refused_and_the_mutant_takes_it(name: str) -> None:
    sealed, (module, old, new) = ENDS[name]
    assert not succeeds(lambda: load(sealed))
    with mutant(module, old, new):
        assert load(sealed) == PLAINTEXT


def test_truncation_at_every_frame_is_refused() -> None:
    for frames in range(8):
        with pytest.raises(ReleaseError) as caught:
            load(SEALED[: HEADER_BYTES + frames * (FRAME + 32)])
        assert caught.value.code is ErrorCode.WEIGHTS_TRUNCATED


def test_a_truncated_message_with_a_true_final_frame_of_a_shorter_one_is_refused() -> None:
    # The parent closes a shortened message with a final frame forged under a key it does not have: a tag of zeros.
    short = SEALED[: HEADER_BYTES + 4 * (FRAME + 32)]
    head = struct.pack(">II", 0xFFFFFFFF, 5) + (5).to_bytes(12, "big") + struct.pack(">I", FRAME)
    expected = replace(EXPECTED, plaintext_bytes=5 * FRAME)
    with pytest.raises(ReleaseError) as caught:
        load(short + head + bytes(FRAME + 16), expected)
    assert caught.value.code is ErrorCode.WEIGHTS_FRAME


@pytest.mark.parametrize("streamed", [False, True])
def test_plaintext_of_a_refused_message_does_not_stay(streamed: bool) -> None:
    broken = bytearray(SEALED)
    broken[-1] ^= 1
    source = Chunked(bytes(broken), 3000, []) if streamed else MemorySource(bytes(broken))

    def attack(buffer: WeightsBuffer) -> memoryview:
        held = memoryview(buffer.writable())
        with pytest.raises(ReleaseError):
            open_weights(source, EXPECTED, opener=opener(), max_plaintext_bytes=BUDGET, buffer=buffer)
        return held

    assert not any(attack(WeightsBuffer(len(PLAINTEXT))))
    with mutant(weights, "        opened.wipe()\n        raise\n", "        raise\n"):
        assert any(attack(WeightsBuffer(len(PLAINTEXT))))


def test_a_context_that_the_manifest_does_not_say_is_refused() -> None:
    foreign = seal(PLAINTEXT, context=CONTEXT | {"class": "credentials"})
    expected = replace(expectation(foreign, PLAINTEXT), encryption_context=CONTEXT)
    assert not succeeds(lambda: load(foreign, expected))
    with mutant(weights_header, "opened.encryption_context != dict(encryption_context)", "False"):
        assert load(foreign, expected) == PLAINTEXT


def test_b10_no_changed_data_key_opens_the_header() -> None:
    # Flips in the CMS envelope that survive its padding change the data key. Every changed key fails the commitment.
    from aws_encryption_sdk.structures import DataKey, MasterKeyInfo

    from pcrgate.kms.weights_key import SdkHeaderOpener
    from tests.unit.envelope.sealed import RawKeys

    class Changed(RawKeys):
        flip = 0

        def decrypt_data_key_from_list(self, *args: Any, **named: Any) -> Any:
            right = super().decrypt_data_key_from_list(*args, **named)
            changed = bytearray(right.data_key)
            changed[self.flip] ^= 0x01
            info = MasterKeyInfo(provider_id="test", key_info=b"test")
            return DataKey(key_provider=info, data_key=bytes(changed), encrypted_data_key=right.encrypted_data_key)

    provider = Changed(hashlib.sha256(b"wrapping key 0").digest())
    for at in range(32):
        provider.flip = at
        with pytest.raises(ReleaseError) as caught:
            SdkHeaderOpener(provider).open_header(SEALED[:HEADER_BYTES])
        assert caught.value.code is ErrorCode.WEIGHTS_HEADER


@pytest.mark.parametrize("kind", ["truncating", "endless"])
def test_h4_a_source_that_never_gives_what_it_should_is_given_up(kind: str) -> None:
    class Hostile:
        opened = 0

        def open(self, offset: int) -> "Hostile":
            self.opened += 1
            self.left = 3 if kind == "truncating" else 1 << 60
            assert self.opened < 100, offset
            return self

        def readinto(self, buffer: memoryview, /) -> int:
            length = min(len(buffer), self.left)
            buffer[:length] = b"\x02" * length
            self.left -= length
            return length

    with pytest.raises(ReleaseError):
        open_weights(Hostile(), EXPECTED, opener=opener(), max_plaintext_bytes=BUDGET)


def test_without_its_bound_a_hostile_source_is_asked_for_ever() -> None:
    calls = []

    class Silent:
        def open(self, offset: int) -> "Silent":
            calls.append(offset)
            if len(calls) > 50:
                raise KeyboardInterrupt
            return self

        def readinto(self, buffer: memoryview, /) -> int:
            assert buffer
            return 0

    assert not succeeds(lambda: open_weights(Silent(), EXPECTED, opener=opener(), max_plaintext_bytes=BUDGET))
    assert len(calls) < 10
    with (
        mutant(weights_source, "for attempt in range(RESUME_ATTEMPTS + 1):", "for attempt in iter(int, 1):"),
        pytest.raises(KeyboardInterrupt),
    ):
        open_weights(Silent(), EXPECTED, opener=opener(), max_plaintext_bytes=BUDGET)


MEASURE = """
import json, resource, sys
from pathlib import Path
from tests.unit.envelope.sealed import opener
from pcrgate.envelope.weights import open_weights
from pcrgate.envelope.weights_digest import WeightsExpectation
from pcrgate.units import Sha384

class FileSource:
    def open(self, offset):
        stream = open(sys.argv[1], "rb", buffering=0)
        stream.seek(offset)
        return stream

told = json.loads(sys.argv[2])
expected = WeightsExpectation(
    header_sha384=Sha384.from_hex(told["header"]), frames_sha384=Sha384.from_hex(told["frames"]),
    plaintext_bytes=told["bytes"], plaintext_sha384=Sha384.from_hex(told["plaintext"]), encryption_context=told["context"],
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
buffer = open_weights(FileSource(), expected, opener=opener(), max_plaintext_bytes=1 << 30, workers=3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_h5_memory_stays_within_plaintext_and_64_mib(tmp_path: Path) -> None:
    plaintext = os.urandom(1 << 20) * 48
    sealed = seal(plaintext, frame_bytes=16 << 20)  # the longest frames are the worst case
    (tmp_path / "sealed").write_bytes(sealed)
    expected = expectation(sealed, plaintext)
    told = {
        "header": str(expected.header_sha384),
        "frames": str(expected.frames_sha384),
        "bytes": len(plaintext),
        "plaintext": str(Sha384(hashlib.sha384(plaintext).digest())),
        "context": CONTEXT,
    }
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "sealed"), json.dumps(told)],
        cwd=root,
        env=dict(os.environ) | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    grown_bytes = int(done.stdout) * 1024
    assert grown_bytes <= len(plaintext) + weights.LOADING_MEMORY_BYTES


def test_the_stock_sdk_still_opens_what_we_measure() -> None:
    opened, _ = sdk().decrypt(source=SEALED, key_provider=keys())
    assert opened == PLAINTEXT
    assert load(SEALED) == opened
