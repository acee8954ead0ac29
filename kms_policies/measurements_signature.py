"""Sign and verify measurements files: a detached Ed25519 signature over the file's bytes.

The signature file holds 64 bytes as one line of base64. What is signed is :data:`DOMAIN` and then the file, so that a
signature over anything else, made with the same key, is none over a measurements file.

Spec: RFC 8032, 5.1.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kms_policies.measurements import ApprovedMeasurement, parse_measurements_file
from pcrgate.errors import ErrorCode, KeyPolicyError

DOMAIN: Final = b"pcrgate measurements file 1\x00"
"""Stands before the file in what is signed."""

SIGNATURE_BYTES: Final = 64
"""R then S. Spec: RFC 8032, 5.1.6."""

SIGNATURE_TEXT_MAX_BYTES: Final = 128
"""Largest signature file read: 88 characters of base64 and the end of the line, with room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedMeasurements:
    """Hold measurements that the expected publisher signed, none of them expired. Made in this module only.

    Attributes:
        measurements: at least one.
    """

    measurements: tuple[ApprovedMeasurement, ...]


def verify_measurements(
    data: bytes, *, signature_text: bytes, public_key: Ed25519PublicKey, now: datetime
) -> VerifiedMeasurements:
    """Return the measurements of a file that this key signed.

    1. The signature is one line of base64. 2. It is this key's over these bytes. 3. The file is of the specified form.
    4. No measurement has expired.

    Args:
        data: the measurements file.
        signature_text: the signature file.
        public_key: the publisher's, from the verifying side's own configuration, never from beside the file.
        now: an aware time.

    Raises:
        KeyPolicyError: ``measurements-signature``, ``measurements-file`` and its kin, ``measurements-expired``.
    """
    # 1
    try:
        if len(signature_text) > SIGNATURE_TEXT_MAX_BYTES:
            raise _bad("the signature file is too long, expected one line of base64")
        signature = base64.b64decode(signature_text.strip(b"\r\n"), validate=True)
    except binascii.Error:
        raise _bad("the signature is not base64, expected one line of it") from None
    if len(signature) != SIGNATURE_BYTES:
        raise _bad(f"the signature has {len(signature)} bytes, expected {SIGNATURE_BYTES}")
    # 2
    try:
        public_key.verify(signature, DOMAIN + data)
    except InvalidSignature:
        raise _bad("the signature is not the expected publisher's over this file") from None
    # 3
    found = parse_measurements_file(data).measurements
    # 4
    late = [one.name for one in found if one.expires <= now]
    if late:
        raise KeyPolicyError(
            ErrorCode.MEASUREMENTS_EXPIRED, f"{', '.join(late)} expired before {now:%Y-%m-%dT%H:%M:%SZ}, expected later"
        )
    return VerifiedMeasurements(measurements=found)


def sign_measurements(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the signature file for a measurements file that is of the specified form.

    Raises:
        KeyPolicyError: ``measurements-file`` and its kin: what cannot be read is not signed.
    """
    parse_measurements_file(data)
    return base64.b64encode(key.sign(DOMAIN + data)) + b"\n"


def _bad(fact: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.MEASUREMENTS_SIGNATURE, fact)
