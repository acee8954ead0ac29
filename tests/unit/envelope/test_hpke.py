"""HPKE: both suites, bound to their info, and the hybrid computed a second time from its parts."""

import hashlib
import hmac
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope.hpke import TAG_BYTES, HpkePrivateKey, HpkePublicKey, HpkeSuite
from pcrgate.errors import ErrorCode, SessionError

SUITES = list(HpkeSuite)


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_opens_with_the_same_info(suite: HpkeSuite) -> None:
    key = HpkePrivateKey.generate(suite)
    sealed = key.public_key.seal(b"plaintext", info=b"info")
    assert len(sealed) == suite.encapsulated_bytes + len(b"plaintext") + TAG_BYTES
    assert key.open(sealed, info=b"info") == b"plaintext"


@pytest.mark.parametrize("suite", SUITES)
def test_everything_else_is_refused_alike(suite: HpkeSuite) -> None:
    key, other = HpkePrivateKey.generate(suite), HpkePrivateKey.generate(suite)
    sealed = key.public_key.seal(b"plaintext", info=b"info")
    attempts = [
        (other, sealed, b"info"),
        (key, sealed, b"other info"),
        (key, sealed[:-1], b"info"),
        (key, sealed + b"\0", b"info"),
        (key, b"", b"info"),
        (key, bytes(len(sealed)), b"info"),
    ]
    attempts += [
        (key, sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], b"info") for at in range(0, len(sealed), 7)
    ]
    messages = set()
    for opener, message, info in attempts:
        with pytest.raises(SessionError) as caught:
            opener.open(message, info=info)
        assert caught.value.code is ErrorCode.SESSION_OPEN
        messages.add(caught.value.message)
    assert len(messages) == 1


@pytest.mark.parametrize("suite", SUITES)
def test_seeds_give_the_same_key(suite: HpkeSuite) -> None:
    keys = [HpkePrivateKey.from_seeds(suite, x25519=b"\1" * 32, mlkem=b"\2" * 64) for _ in range(2)]
    assert keys[0].public_key == keys[1].public_key
    assert len(keys[0].public_key.encoded) == suite.public_key_bytes
    assert keys[1].open(keys[0].public_key.seal(b"x", info=b""), info=b"") == b"x"


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_public_key_has_one_length(suite: HpkeSuite, change: int) -> None:
    with pytest.raises(SessionError) as caught:
        HpkePublicKey(suite=suite, encoded=bytes(suite.public_key_bytes + change))
    assert caught.value.code is ErrorCode.SESSION_MESSAGE


def test_a_key_that_is_no_key_is_refused() -> None:
    with pytest.raises(SessionError, match="not a key"):
        HpkePublicKey(suite=HpkeSuite.MLKEM768_X25519, encoded=b"\xff" * HpkeSuite.MLKEM768_X25519.public_key_bytes)


def test_a_point_of_small_order_gives_no_secret() -> None:
    with pytest.raises(SessionError, match="no shared secret"):
        HpkePublicKey(suite=HpkeSuite.X25519, encoded=bytes(32)).seal(b"x", info=b"")


def test_suites_are_found_by_number_and_the_hybrid_comes_first() -> None:
    assert [HpkeSuite.from_id(suite.kem_id) for suite in SUITES] == SUITES
    assert SUITES[0] is HpkeSuite.MLKEM768_X25519
    with pytest.raises(SessionError) as caught:
        HpkeSuite.from_id(0x0041)
    assert caught.value.code is ErrorCode.SESSION_MESSAGE


def test_a_private_key_shows_nothing() -> None:
    assert repr(HpkePrivateKey.generate(HpkeSuite.X25519)) == "HpkePrivateKey(hidden)"


# --- the standards once more, from their parts: what the library does is what they say ------------------------------


def _expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block = b"", b""
    for counter in itertools.count(1):
        block = hmac.digest(prk, block + info + bytes((counter,)), "sha256")
        out += block
        if len(out) >= length:
            return out[:length]
    raise AssertionError


def _labeled_extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm, "sha256")


def _labeled_expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return _expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info, length)


def open_by_the_book(kem_id: int, shared: bytes, ciphertext: bytes, info: bytes) -> bytes:
    """RFC 9180, 5.1 and 5.2: base mode, HKDF-SHA256, AES-256-GCM, first message."""
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem_id, 0x0001, 0x0002))
    context = b"\0" + _labeled_extract(suite_id, b"", b"psk_id_hash", b"")
    context += _labeled_extract(suite_id, b"", b"info_hash", info)
    secret = _labeled_extract(suite_id, shared, b"secret", b"")
    key = _labeled_expand(suite_id, secret, b"key", context, 32)
    nonce = _labeled_expand(suite_id, secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def test_the_hybrid_is_x_wing_in_hpke() -> None:
    suite = HpkeSuite.MLKEM768_X25519
    key = HpkePrivateKey.from_seeds(suite, x25519=b"\3" * 32, mlkem=b"\4" * 64)
    sealed = key.public_key.seal(b"plaintext", info=b"info")
    kem_ciphertext, ephemeral, ciphertext = sealed[:1088], sealed[1088:1120], sealed[1120:]
    x25519 = X25519PrivateKey.from_private_bytes(b"\3" * 32)
    first = MLKEM768PrivateKey.from_seed_bytes(b"\4" * 64).decapsulate(kem_ciphertext)
    second = x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    label = b"\\.//^\\"
    shared = hashlib.sha3_256(first + second + ephemeral + x25519.public_key().public_bytes_raw() + label).digest()
    assert open_by_the_book(suite.kem_id, shared, ciphertext, b"info") == b"plaintext"


def test_x25519_is_dhkem_in_hpke() -> None:
    suite = HpkeSuite.X25519
    key = HpkePrivateKey.from_seeds(suite, x25519=b"\3" * 32)
    sealed = key.public_key.seal(b"plaintext", info=b"info")
    ephemeral, ciphertext = sealed[:32], sealed[32:]
    x25519 = X25519PrivateKey.from_private_bytes(b"\3" * 32)
    exchanged = x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    kem_suite = b"KEM" + suite.kem_id.to_bytes(2, "big")
    extracted = _labeled_extract(kem_suite, b"", b"eae_prk", exchanged)
    context = ephemeral + x25519.public_key().public_bytes_raw()
    shared = _labeled_expand(kem_suite, extracted, b"shared_secret", context, 32)
    assert open_by_the_book(suite.kem_id, shared, ciphertext, b"info") == b"plaintext"
