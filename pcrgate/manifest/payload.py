"""The manifest as canonical CBOR: one manifest, one encoding, and nothing that a reader does not know.

Spec: docs/protocol.md, release manifest; RFC 8949, 4.2.1.
"""

from enum import Enum
from typing import Final, TypeVar

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.errors import CborError, ErrorCode, ManifestError, UsageError
from pcrgate.manifest.constraint_form import grant_value, read_grant, read_rules, rules_value
from pcrgate.manifest.fields import Fields
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import MANIFEST_VERSION, Agent, ApprovedImage, Manifest
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat
from pcrgate.units import Sha384

PAYLOAD_MAX_BYTES: Final = 1 << 20
"""Longest payload: thousands of grants fit, and it is read before anything else is trusted with memory."""

_Word = TypeVar("_Word", bound=Enum)


def encode_payload(manifest: Manifest) -> bytes:
    """Return the payload.

    Raises:
        ManifestError: ``manifest-limit`` when it is longer than ``PAYLOAD_MAX_BYTES``.
    """
    payload = encode(manifest_value(manifest))
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise ManifestError(ErrorCode.MANIFEST_LIMIT, f"the manifest is longer than {PAYLOAD_MAX_BYTES} bytes")
    return payload


def decode_payload(payload: bytes) -> Manifest:
    """Return the manifest that has exactly this encoding.

    Args:
        payload: 1 to ``PAYLOAD_MAX_BYTES`` bytes; the caller has bounded it.

    Raises:
        ManifestError: ``manifest-encoding`` for another encoding, else the code of the first fault.
    """
    try:
        value = decode(payload)
    except CborError as error:
        raise ManifestError(ErrorCode.MANIFEST_ENCODING, f"the payload is not strict CBOR: {error.message}") from error
    manifest = read_manifest(value)
    # Maps and lists in another order, which the strict decoder lets pass.
    if encode_payload(manifest) != payload:
        raise ManifestError(ErrorCode.MANIFEST_ENCODING, "the payload is not in its canonical order")
    return manifest


def manifest_value(manifest: Manifest) -> CborValue:
    """Return the map of a manifest."""
    return {
        "version": MANIFEST_VERSION,
        "epoch": manifest.epoch,
        "issued_ms": manifest.issued_ms,
        "expires_ms": manifest.expires_ms,
        "secrets": [secret_value(secret) for secret in manifest.secrets],
        "session_key_arn": None if manifest.session_key_arn is None else str(manifest.session_key_arn),
        "agents": [{"name": agent.name, "public_key": agent.public_key.public_bytes} for agent in manifest.agents],
        "grants": [grant_value(grant) for grant in manifest.grants],
        "rules": [rules_value(rules) for rules in manifest.rules],
        "images": [_image_value(image) for image in manifest.images],
    }


def read_manifest(value: CborValue) -> Manifest:
    """Return the manifest of a map.

    Raises:
        ManifestError: ``manifest-version``, or whatever an entry is refused with.
    """
    fields = Fields(value, "the manifest")
    if fields.integer("version") != MANIFEST_VERSION:
        raise ManifestError(ErrorCode.MANIFEST_VERSION, f"not a manifest of version {MANIFEST_VERSION}")
    session_key = fields.take("session_key_arn")
    manifest = Manifest(
        epoch=fields.integer("epoch"),
        issued_ms=fields.integer("issued_ms"),
        expires_ms=fields.integer("expires_ms"),
        secrets=fields.entries("secrets", read_secret),
        session_key_arn=None if session_key is None else Fields({"key": session_key}, "the session key").key_arn("key"),
        agents=fields.entries("agents", _read_agent),
        grants=fields.entries("grants", read_grant),
        rules=fields.entries("rules", read_rules),
        images=fields.entries("images", _read_image),
    )
    fields.done()
    return manifest


def secret_value(secret: SealedSecret) -> CborValue:
    """Return the map of a secret."""
    return {
        "class": secret.secret_class.value,
        "name": secret.name,
        "epoch": secret.epoch,
        "format": secret.format.value,
        "key_arn": str(secret.key_arn),
        "encryption_context": dict(secret.encryption_context.items()),
        "header_sha384": secret.header_sha384.digest,
        "frames_sha384": secret.frames_sha384.digest,
        "plaintext_sha384": secret.plaintext_sha384.digest,
        "plaintext_bytes": secret.plaintext_bytes,
        "workloads": list(secret.workloads),
        "expires_ms": secret.expires_ms,
    }


def read_secret(value: CborValue) -> SealedSecret:
    """Return the secret of a map.

    Raises:
        ManifestError: for what is no secret.
    """
    fields = Fields(value, "a secret")
    secret = SealedSecret(
        secret_class=_word(SecretClass, fields.text("class"), "class"),
        name=fields.text("name"),
        epoch=fields.integer("epoch"),
        format=_word(SecretFormat, fields.text("format"), "format"),
        key_arn=fields.key_arn("key_arn"),
        # names and values that are no text are refused by the secret
        encryption_context=fields.mapping("encryption_context"),  # type: ignore[arg-type]
        header_sha384=fields.digest("header_sha384"),
        frames_sha384=fields.digest("frames_sha384"),
        plaintext_sha384=fields.digest("plaintext_sha384"),
        plaintext_bytes=fields.integer("plaintext_bytes"),
        workloads=fields.texts("workloads"),
        expires_ms=fields.integer("expires_ms"),
    )
    fields.done()
    return secret


def _read_agent(value: CborValue) -> Agent:
    fields = Fields(value, "an agent")
    agent = Agent(name=fields.text("name"), public_key=VerifyingKey(fields.bytes_("public_key")))
    fields.done()
    return agent


def _image_value(image: ApprovedImage) -> CborValue:
    return {
        "name": image.name,
        "expires_ms": image.expires_ms,
        "pcrs": {index: value.digest for index, value in image.pcrs.items()},
    }


def _read_image(value: CborValue) -> ApprovedImage:
    fields = Fields(value, "an image")
    pcrs: dict[int, Sha384] = {}
    for index, digest in fields.mapping("pcrs").items():
        if type(index) is not int or type(digest) is not bytes:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, "pcrs of an image are not integers to byte strings")
        try:
            pcrs[index] = Sha384(digest)
        except UsageError as error:
            raise ManifestError(ErrorCode.MANIFEST_FIELD, f"pcrs of an image: {error.message}") from error
    image = ApprovedImage(name=fields.text("name"), pcrs=pcrs, expires_ms=fields.integer("expires_ms"))
    fields.done()
    return image


def _word(words: type[_Word], text: str, what: str) -> _Word:
    try:
        return words(text)
    except ValueError as error:
        known = ", ".join(str(word.value) for word in words)
        raise ManifestError(ErrorCode.MANIFEST_FIELD, f"an unknown {what}, expected one of {known}") from error
