"""Verify a release manifest: the one place where a :class:`VerifiedManifest` is made.

The steps are numbered as in docs/protocol.md, release manifest.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pcrgate.errors import ErrorCode, ManifestError
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.signature import parse_manifest
from pcrgate.units import SHA384_BYTES, KeyArn, Sha384

MANIFEST_PCR: Final = 16
"""The register that the enclave extends with the manifest's digest: the first that is the application's own.
Spec: nsm-api, PCRs 16 and up are not locked at boot."""

FUTURE_SKEW_MAX_MS: Final = 60_000
"""How far ahead the publisher's clock may be, as for evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedManifest:
    """Hold a manifest that a trusted publisher signed, not older than the floor, in its time, with pinned keys.

    Attributes:
        manifest: what was signed.
        digest: SHA-384 over the signed bytes, envelope included; goes into PCR16, contexts and receipts.
        key_id: 16 bytes: whose signature it is.
    """

    manifest: Manifest
    digest: Sha384
    key_id: bytes


def verify_manifest(
    signed: bytes,
    *,
    publisher_keys: Collection[VerifyingKey],
    floor_epoch: int,
    now_ms: int,
    pinned_keys: Collection[KeyArn] | None = None,
) -> VerifiedManifest:
    """Return the manifest, after every check.

    Args:
        signed: raw bytes, at most ``SIGNED_MAX_BYTES``.
        publisher_keys: whose signature counts; from measured configuration.
        floor_epoch: least epoch accepted; from measured configuration.
        now_ms: milliseconds since 1970, from a clock that the parent cannot set.
        pinned_keys: the KMS keys that may be named, from measured configuration; multi-Region keys only count when
            they are here. None accepts any single-Region key, for those who release nothing.

    Raises:
        ManifestError: ``manifest-size``, ``manifest-envelope``, ``manifest-signer``, ``manifest-signature``,
            ``manifest-encoding``, ``manifest-version``, ``manifest-field``, ``manifest-limit``, ``manifest-duplicate``,
            ``manifest-reference``, ``manifest-context``, ``manifest-key-class``, ``manifest-public-key``,
            ``manifest-rollback``, ``manifest-not-yet-valid``, ``manifest-expired``, ``manifest-key-pinned``.

    Spec: docs/protocol.md, release manifest.
    """
    # 1 to 4. Size, envelope, headers, lengths; the payload stays closed.
    unverified = parse_manifest(signed)
    # 5. A publisher who is trusted.
    key = next((key for key in publisher_keys if key.key_id == unverified.key_id), None)
    if key is None:
        raise ManifestError(
            ErrorCode.MANIFEST_SIGNER, f"signed by key {unverified.key_id.hex()}, expected a trusted publisher's"
        )
    # 6. The signature, over the bytes as they came.
    key.verify(unverified.signature, unverified.signed_bytes())
    # 7. The payload: canonical, complete, consistent.
    manifest = unverified.claims()
    # 8. No way back.
    if manifest.epoch < floor_epoch:
        raise ManifestError(
            ErrorCode.MANIFEST_ROLLBACK, f"the manifest has epoch {manifest.epoch}, expected at least {floor_epoch}"
        )
    # 9. Its time.
    if manifest.issued_ms > now_ms + FUTURE_SKEW_MAX_MS:
        raise ManifestError(
            ErrorCode.MANIFEST_NOT_YET_VALID,
            f"issued at {manifest.issued_ms} ms, expected at most {now_ms} ms and 60 s",
        )
    if now_ms >= manifest.expires_ms:
        raise ManifestError(
            ErrorCode.MANIFEST_EXPIRED, f"expired at {manifest.expires_ms} ms, expected later than {now_ms} ms"
        )
    # 10. Keys that are pinned.
    require_pinned(manifest, pinned_keys)
    return VerifiedManifest(manifest=manifest, digest=manifest_digest(signed), key_id=unverified.key_id)


def require_pinned(manifest: Manifest, pinned_keys: Collection[KeyArn] | None) -> None:
    """Refuse a manifest that names a KMS key which is not pinned; without pins, one that may have replicas.

    Raises:
        ManifestError: ``manifest-key-pinned``.
    """
    for key_arn, _ in manifest.kms_keys():
        if pinned_keys is None and key_arn.is_multi_region:
            raise ManifestError(
                ErrorCode.MANIFEST_KEY_PINNED, f"{key_arn} is a multi-Region key, expected it among the pinned keys"
            )
        if pinned_keys is not None and key_arn not in pinned_keys:
            raise ManifestError(ErrorCode.MANIFEST_KEY_PINNED, f"{key_arn} is named, expected one of the pinned keys")


def manifest_digest(signed: bytes) -> Sha384:
    """Return the SHA-384 over the signed bytes."""
    return Sha384(hashlib.sha384(signed).digest())


def expected_pcr16(digest: Sha384) -> Sha384:
    """Return what PCR16 holds after it was extended once with the manifest's digest.

    Spec: nsm-api, ExtendPCR: SHA-384 of the old 48 bytes and the data.
    """
    return Sha384(hashlib.sha384(bytes(SHA384_BYTES) + digest.digest).digest())
