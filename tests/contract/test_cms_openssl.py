"""The CMS that the twin writes, held against real KMS answers and against two readers that are not ours."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pcrgate.twin.kms.cms import CHUNK_BYTES, ContentForm, write_ciphertext_for_recipient
from pcrgate.twin.kms.randomness import SeededRandomness, SystemRandomness
from tests.support.recordings import load_index

RECORDINGS: Final = {entry["file"]: entry for entry in load_index("kms-recipient")}
OPENSSL: Final = shutil.which("openssl")
FORMS: Final[tuple[ContentForm, ...]] = ("chunked", "primitive")
KEY: Final = rsa.generate_private_key(65537, 2048)
SPKI: Final = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(plaintext: bytes, form: ContentForm, spki: bytes = SPKI) -> bytes:
    return write_ciphertext_for_recipient(plaintext, spki, content_form=form, randomness=SystemRandomness())


def _skeleton(data: bytes, at: int = 0, end: int | None = None, depth: int = 0) -> Iterator[tuple[object, ...]]:
    """Yield tag and length bytes of every element, and the content of object identifiers and integers."""
    while end is None or at < end:
        tag, first = data[at], data[at + 1]
        at += 2
        octets = first & 0x7F if first > 0x80 else 0
        length = int.from_bytes(data[at : at + octets]) if octets else first
        header = (depth, tag, first, data[at : at + octets])
        at += octets
        if (tag, first) == (0, 0):
            yield header
            return
        shown = data[at : at + length] if tag in {0x02, 0x06} else b""
        yield (*header, shown)
        if first == 0x80:
            inner = list(_skeleton(data, at, None, depth + 1))
            yield from inner
            at = _skip(data, at)
        else:
            if tag & 0x20:
                yield from _skeleton(data, at, at + length, depth + 1)
            at += length
        if depth == 0:
            assert at == len(data), "bytes follow the outermost element"
            return


def _skip(data: bytes, at: int) -> int:
    """Return where the contents of an indefinite element end, past its end marker."""
    while data[at : at + 2] != b"\0\0":
        first = data[at + 1]
        at += 2
        if first == 0x80:
            at = _skip(data, at)
            continue
        octets = first & 0x7F if first > 0x80 else 0
        at += octets + (int.from_bytes(data[at : at + octets]) if octets else first)
    return at + 2


@pytest.mark.skipif(not RECORDINGS, reason="the recordings of KMS answers are not beside this checkout")
@pytest.mark.parametrize(
    ("recording", "form", "length"),
    [
        ("enclaver-2022-hello-world.ber", "chunked", 12),
        ("sdkc-2022-primitive-16.ber", "primitive", 12),
        ("rustcrypto-2025-chunked-4112.ber", "chunked", 4096),
    ],
)
def test_ours_has_the_skeleton_of_the_real_one(recording: str, form: ContentForm, length: int) -> None:
    real, ours = RECORDINGS[recording]["bytes"], _write(bytes(length), form)
    assert len(real) == len(ours)
    assert list(_skeleton(ours)) == list(_skeleton(real))


@pytest.mark.skipif(not RECORDINGS, reason="the recordings of KMS answers are not beside this checkout")
def test_everything_but_the_random_bytes_equals_the_real_one() -> None:
    entry = RECORDINGS["enclaver-2022-hello-world.ber"]
    numbers = rsa.RSAPublicNumbers(entry["rsa"]["e"], int(entry["rsa"]["n"], 16))
    spki = numbers.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    real, ours = entry["bytes"], _write(b"Hello, World", "chunked", spki)
    random_parts = [(131, 387), (415, 431), (435, 451)]  # encrypted key, IV, content
    for start, stop in random_parts:
        ours = ours[:start] + real[start:stop] + ours[stop:]
    assert ours == real


@pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command here")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, 15, 16, 32, CHUNK_BYTES - 8, CHUNK_BYTES, 2 * CHUNK_BYTES, 4096])
def test_openssl_opens_ours(tmp_path: Path, form: ContentForm, length: int) -> None:
    plaintext = bytes(number % 251 for number in range(length))
    (tmp_path / "ours.ber").write_bytes(_write(plaintext, form))
    private = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(private)
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", "ours.ber", "-inkey", "key.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == plaintext


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, CHUNK_BYTES, 4096])
def test_asn1crypto_reads_ours(form: ContentForm, length: int) -> None:
    info = cms.ContentInfo.load(_write(bytes(length), form), strict=True)
    assert info["content_type"].native == "enveloped_data"
    enveloped: Any = info["content"]
    (recipient,) = enveloped["recipient_infos"]
    assert recipient.chosen["rid"].chosen.native == hashlib.sha256(SPKI).digest()
    algorithm = recipient.chosen["key_encryption_algorithm"]
    assert algorithm["algorithm"].native == "rsaes_oaep"
    assert algorithm["parameters"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert algorithm["parameters"]["mask_gen_algorithm"]["parameters"]["algorithm"].native == "sha256"
    content = enveloped["encrypted_content_info"]["encrypted_content"].native
    assert len(content) == (length // 16 + 1) * 16


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_the_encrypted_key_is_plain_oaep(bits: int) -> None:
    key = KEY if bits == 2048 else rsa.generate_private_key(65537, bits)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    enveloped: Any = cms.ContentInfo.load(_write(b"a", "chunked", spki))["content"]
    encrypted = enveloped["recipient_infos"][0].chosen["encrypted_key"].native
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert (len(encrypted) * 8, len(key.decrypt(encrypted, oaep))) == (bits, 32)


def test_a_seed_repeats_the_bytes_and_fresh_randomness_does_not() -> None:
    first, second = (
        write_ciphertext_for_recipient(b"a", SPKI, content_form="chunked", randomness=SeededRandomness(b"seed"))
        for _ in range(2)
    )
    assert first == second
    assert _write(b"a", "chunked") != _write(b"a", "chunked")
