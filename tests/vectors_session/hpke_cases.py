"""Messages sealed with HPKE under either suite, from the recipient's side: opening is deterministic, encapsulating is not."""

import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope.hpke import HpkePrivateKey, HpkeSuite
from tests.unit.envelope.test_hpke import _labeled_expand, _labeled_extract
from tests.vectors_session.fixed_keys import octets, seal

Vector = dict[str, Any]
X25519_SEED, MLKEM_SEED = octets("boot 1 x25519", 32), octets("boot 1 mlkem", 64)
ENCAPSULATED = bytes.fromhex((Path(__file__).parent / "mlkem768_encapsulated.hex").read_text(encoding="ascii"))
"""Encapsulated once, at random, to boot 1's ML-KEM key, and kept: nobody can make it again from a label."""

INFO, PLAINTEXT = b"what the message is bound to", b"a message"


def seal_hybrid() -> bytes:
    """Seal by the book: X-Wing's combiner, then RFC 9180, 5.1, over the encapsulation that was kept."""
    suite = HpkeSuite.MLKEM768_X25519
    ephemeral = X25519PrivateKey.from_private_bytes(octets("hybrid ephemeral", 32))
    public_key = X25519PrivateKey.from_private_bytes(X25519_SEED).public_key().public_bytes_raw()
    encapsulated = ephemeral.public_key().public_bytes_raw()
    first = MLKEM768PrivateKey.from_seed_bytes(MLKEM_SEED).decapsulate(ENCAPSULATED)
    second = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    shared = hashlib.sha3_256(first + second + encapsulated + public_key + b"\\.//^\\").digest()
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (suite.kem_id, 1, 2))
    context = b"\0" + _labeled_extract(suite_id, b"", b"psk_id_hash", b"")
    context += _labeled_extract(suite_id, b"", b"info_hash", INFO)
    secret = _labeled_extract(suite_id, shared, b"secret", b"")
    key = _labeled_expand(suite_id, secret, b"key", context, 32)
    nonce = _labeled_expand(suite_id, secret, b"base_nonce", context, 12)
    return ENCAPSULATED + encapsulated + AESGCM(key).encrypt(nonce, PLAINTEXT, b"")


def hpke_vectors() -> list[Vector]:
    """Return the vectors of the kind ``hpke``."""
    hybrid = seal_hybrid()
    classic_key = HpkePrivateKey.from_seeds(HpkeSuite.X25519, x25519=X25519_SEED).public_key.encoded
    classic = seal(classic_key, "classic ephemeral", PLAINTEXT, INFO)
    taken = {"plaintext": PLAINTEXT.hex()}
    both, one = HpkeSuite.MLKEM768_X25519, HpkeSuite.X25519
    cases: list[tuple[str, str, HpkeSuite, bytes, bytes]] = [
        ("accept-hpke-hybrid", "sealed to ML-KEM-768 and X25519", both, hybrid, INFO),
        ("accept-hpke-x25519", "sealed to X25519", one, classic, INFO),
        ("reject-hpke-hybrid-mlkem", "one bit of what ML-KEM encapsulated", both, flip(hybrid, 100), INFO),
        ("reject-hpke-hybrid-x25519", "one bit of the ephemeral X25519 key", both, flip(hybrid, 1088), INFO),
        ("reject-hpke-hybrid-tag", "one bit of the tag", both, flip(hybrid, len(hybrid) - 1), INFO),
        ("reject-hpke-hybrid-info", "bound to something else", both, hybrid, INFO + b"!"),
        ("reject-hpke-hybrid-truncated", "ends within the encapsulated key", both, hybrid[:1119], INFO),
        ("reject-hpke-hybrid-as-x25519", "only its X25519 half is offered", one, hybrid[1088:], INFO),
    ]
    return [
        {
            "name": name,
            "kind": "hpke",
            "description": description,
            "expect": "accepted" if name.startswith("accept-") else "session-open",
            "suite": suite.kem_id,
            "x25519_seed": X25519_SEED.hex(),
            "mlkem_seed": MLKEM_SEED.hex(),
            "info": info.hex(),
            "sealed": sealed.hex(),
            **(taken if name.startswith("accept-") else {}),
        }
        for name, description, suite, sealed, info in cases
    ]


def flip(data: bytes, at: int) -> bytes:
    """Return the bytes with the lowest bit of one changed."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
