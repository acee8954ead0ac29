"""Sign and verify with the receipt key: ES384 as r then s."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.errors import PcrgateError

_HALF_BYTES: Final = 48
"""Length of r and of s."""


def sign_es384(key: EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Return an ES384 signature, r then s, 96 bytes. Its nonce is derived from key and data, not drawn.

    Spec: RFC 9053, 2.1; RFC 6979, 3.2.
    """
    r, s = decode_dss_signature(key.sign(data, ECDSA(SHA384(), deterministic_signing=True)))
    return r.to_bytes(_HALF_BYTES, "big") + s.to_bytes(_HALF_BYTES, "big")


def verify_es384(key: EllipticCurvePublicKey, signature: bytes, data: bytes, refusal: PcrgateError) -> None:
    """Refuse a signature of r and s, 96 bytes, that is not the key's over the data.

    Raises:
        PcrgateError: the one given.
    """
    r, s = int.from_bytes(signature[:_HALF_BYTES], "big"), int.from_bytes(signature[_HALF_BYTES:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, ECDSA(SHA384()))
    except InvalidSignature as error:
        raise refusal from error
