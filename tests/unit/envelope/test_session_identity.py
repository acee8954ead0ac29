"""An identity is what evidence commits to, and nothing else is."""

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.session_identity import (
    BOOT_ID_BYTES,
    RECEIPT_KEY_BYTES,
    WIRE_VERSION,
    BootKeys,
    load_receipt_key,
    parse_identity,
    verify_identity,
)
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import FIELD_MAX_BYTES
from tests.unit.envelope.session_stage import MANIFEST, refusal

KEYS = BootKeys.generate(MANIFEST)
STATEMENT = KEYS.statement
ENCODED = STATEMENT.encode()


def spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_statement_is_read_back() -> None:
    assert parse_identity(ENCODED) == STATEMENT
    assert len(STATEMENT.boot_id) == BOOT_ID_BYTES
    assert STATEMENT.manifest_digest == MANIFEST
    assert set(STATEMENT.hpke_keys) == set(HpkeSuite)


def test_evidence_has_room_for_it() -> None:
    assert len(STATEMENT.digest.digest) <= FIELD_MAX_BYTES
    assert len(STATEMENT.receipt_key) == RECEIPT_KEY_BYTES <= FIELD_MAX_BYTES
    assert STATEMENT.digest.digest == hashlib.sha384(ENCODED).digest()


def test_it_verifies_against_the_evidence_that_commits_to_it() -> None:
    verified = verify_identity(ENCODED, user_data=STATEMENT.digest.digest, public_key=STATEMENT.receipt_key)
    assert verified.statement == STATEMENT
    assert verified.digest == STATEMENT.digest
    assert spki(verified.receipt_key) == STATEMENT.receipt_key


def test_two_boots_share_nothing() -> None:
    other = BootKeys.generate(MANIFEST).statement
    assert other.boot_id != STATEMENT.boot_id
    assert other.receipt_key != STATEMENT.receipt_key
    assert all(other.hpke_keys[suite] != STATEMENT.hpke_keys[suite] for suite in HpkeSuite)


def test_other_evidence_is_refused() -> None:
    other = BootKeys.generate(MANIFEST).statement
    digest, key = STATEMENT.digest.digest, STATEMENT.receipt_key
    cases: list[tuple[bytes | None, bytes | None]] = [
        (None, key),
        (b"", key),
        (other.digest.digest, key),
        (digest[:-1], key),
        (digest, None),
        (digest, b""),
        (digest, other.receipt_key),
        (digest, spki(rsa.generate_private_key(65537, 2048).public_key())),
    ]
    for user_data, public_key in cases:
        with pytest.raises(SessionError) as caught:
            verify_identity(ENCODED, user_data=user_data, public_key=public_key)
        assert caught.value.code is ErrorCode.SESSION_IDENTITY


def test_every_flipped_byte_is_refused() -> None:
    for at in range(len(ENCODED)):
        changed = ENCODED[:at] + bytes((ENCODED[at] ^ 1,)) + ENCODED[at + 1 :]
        code = refusal(
            lambda changed=changed: verify_identity(
                changed, user_data=STATEMENT.digest.digest, public_key=STATEMENT.receipt_key
            )
        )
        assert code is ErrorCode.SESSION_IDENTITY


@pytest.mark.parametrize(
    "changes",
    [
        {"wire_version": WIRE_VERSION + 1},
        {"wire_version": 0},
        {"boot_id": bytes(BOOT_ID_BYTES - 1)},
        {"boot_id": bytes(BOOT_ID_BYTES + 1)},
        {"receipt_key": bytes(RECEIPT_KEY_BYTES)},
    ],
)
def test_a_statement_that_is_none_is_refused_though_evidence_commits_to_it(changes: dict[str, object]) -> None:
    encoded = dataclasses.replace(STATEMENT, **changes).encode()  # type: ignore[arg-type]
    user_data = hashlib.sha384(encoded).digest()
    with pytest.raises(SessionError) as caught:
        verify_identity(encoded, user_data=user_data, public_key=STATEMENT.receipt_key)
    assert caught.value.code is ErrorCode.SESSION_MESSAGE


def test_the_receipt_key_is_p384_in_its_one_form() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    assert load_receipt_key(spki(key)).public_numbers() == key.public_numbers()
    others = [
        spki(ec.generate_private_key(ec.SECP256R1()).public_key()),
        spki(ec.generate_private_key(ec.BrainpoolP384R1()).public_key()),
        spki(rsa.generate_private_key(65537, 2048).public_key()),
        spki(ed25519.Ed25519PrivateKey.generate().public_key()),
        spki(key)[:-1],
        spki(key) + b"\0",
        b"",
    ]
    for other in others:
        with pytest.raises(SessionError) as caught:
            load_receipt_key(other)
        assert caught.value.code is ErrorCode.SESSION_MESSAGE


def test_a_key_of_another_kind_with_the_right_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pcrgate.envelope.session_identity.RECEIPT_KEY_BYTES",
        len(spki(ec.generate_private_key(ec.SECP256R1()).public_key())),
    )
    with pytest.raises(SessionError, match="another kind"):
        load_receipt_key(spki(ec.generate_private_key(ec.SECP256R1()).public_key()))


def test_another_der_of_the_same_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    compressed = bytes.fromhex("3046301006072a8648ce3d020106052b81040022033200") + point
    monkeypatch.setattr("pcrgate.envelope.session_identity.RECEIPT_KEY_BYTES", len(compressed))
    with pytest.raises(SessionError, match="one DER form"):
        load_receipt_key(compressed)


def test_boot_keys_hold_a_p384_key() -> None:
    with pytest.raises(SessionError):
        BootKeys.hold(ec.generate_private_key(ec.SECP256R1()), KEYS.hpke_keys, STATEMENT.boot_id, MANIFEST)
    assert BootKeys.hold(KEYS.receipt_key, KEYS.hpke_keys, STATEMENT.boot_id, MANIFEST).statement == STATEMENT
