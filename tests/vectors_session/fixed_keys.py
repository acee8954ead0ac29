"""Keys from public labels: the same everywhere, and protecting nothing."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.attestation.cose import P384_ORDER
from pcrgate.envelope.hpke import HpkePrivateKey, HpkeSuite
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.units import Sha384
from tests.unit.envelope.test_hpke import _labeled_expand, _labeled_extract

NOW_MS = 1_800_000_000_000
AGENT = "agent-1"


def octets(label: str, length: int) -> bytes:
    return hashlib.shake_256(b"pcrgate vectors: " + label.encode()).digest(length)


MANIFEST = Sha384(octets("manifest", 48))
GRANT_KEY = Ed25519PrivateKey.from_private_bytes(octets("grant key", 32))
RESPONSE_KEY = HpkePrivateKey.from_seeds(HpkeSuite.X25519, x25519=octets("response key", 32))


def boot(label: str) -> BootKeys:
    scalar = int.from_bytes(octets(f"{label} receipt key", 48), "big") % (P384_ORDER - 1) + 1
    seeds = {"x25519": octets(f"{label} x25519", 32), "mlkem": octets(f"{label} mlkem", 64)}
    keys = {suite: HpkePrivateKey.from_seeds(suite, **seeds) for suite in HpkeSuite}
    receipt_key = ec.derive_private_key(scalar, ec.SECP384R1())
    return BootKeys.hold(receipt_key, keys, octets(f"{label} boot id", 32), MANIFEST)


def seal(public_key: bytes, label: str, plaintext: bytes, info: bytes) -> bytes:
    """Seal with X25519 by the book (RFC 9180, 4.1, 5.1, 5.2), under an ephemeral key made from the label."""
    ephemeral = X25519PrivateKey.from_private_bytes(octets(label, 32))
    encapsulated = ephemeral.public_key().public_bytes_raw()
    kem = b"KEM" + HpkeSuite.X25519.kem_id.to_bytes(2, "big")
    exchanged = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    extracted = _labeled_extract(kem, b"", b"eae_prk", exchanged)
    shared = _labeled_expand(kem, extracted, b"shared_secret", encapsulated + public_key, 32)
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (HpkeSuite.X25519.kem_id, 1, 2))
    context = (
        b"\0" + _labeled_extract(suite, b"", b"psk_id_hash", b"") + _labeled_extract(suite, b"", b"info_hash", info)
    )
    secret = _labeled_extract(suite, shared, b"secret", b"")
    key = _labeled_expand(suite, secret, b"key", context, 32)
    nonce = _labeled_expand(suite, secret, b"base_nonce", context, 12)
    return encapsulated + AESGCM(key).encrypt(nonce, plaintext, b"")
