"""Keep receipts with what verifies them: the identity statement and a document that commits to it.

A bundle proves nothing by being one. Who reads it brings reference values of their own.

Spec: docs/protocol.md, "Bundles"; docs/receipts.cddl.
"""

from dataclasses import dataclass
from typing import Final

from pcrgate.attestation.cbor import decode, encode
from pcrgate.errors import CborError, ErrorCode, ReceiptError

BUNDLE_KIND: Final = "pcrgate-receipts"
"""What the file says it is."""

BUNDLE_VERSION: Final = 1
"""The form of the file."""

BUNDLE_MAX_BYTES: Final = 32 << 20
"""Longest bundle: the most receipts there may be, at the 500 bytes that they usually have."""

BUNDLE_RECEIPTS_MAX: Final = 65_536
"""Most receipts in a bundle: what one array may hold; a longer chain is several bundles."""

_KEYS: Final = {"kind", "version", "document", "identity", "receipts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedBundle:
    """Hold the parts of a bundle.

    Attributes:
        document: attestation document, raw.
        identity: identity statement, encoded.
        receipts: in the order of the chain.
    """

    document: bytes
    identity: bytes
    receipts: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the file."""
        return encode(
            {
                "kind": BUNDLE_KIND,
                "version": BUNDLE_VERSION,
                "document": self.document,
                "identity": self.identity,
                "receipts": list(self.receipts),
            }
        )


def parse_bundle(data: bytes) -> UnverifiedBundle:
    """Take a bundle apart without trusting it.

    Raises:
        ReceiptError: ``receipt-bundle``.
    """
    if len(data) > BUNDLE_MAX_BYTES:
        raise _refused(f"the bundle has {len(data)} bytes, expected at most {BUNDLE_MAX_BYTES}")
    try:
        value = decode(data)
    except CborError as error:
        raise _refused(f"the bundle is not CBOR of the strict form, {error.message}") from error
    if not isinstance(value, dict) or value.keys() != _KEYS:
        raise _refused("the bundle is not a map of its five keys")
    if value["kind"] != BUNDLE_KIND or type(value["version"]) is not int or value["version"] != BUNDLE_VERSION:
        raise _refused(f"the file is not a bundle of version {BUNDLE_VERSION}")
    document, identity, receipts = value["document"], value["identity"], value["receipts"]
    if not isinstance(document, bytes) or not isinstance(identity, bytes) or not isinstance(receipts, list):
        raise _refused("document, identity or receipts are of another type")
    found = tuple(receipt for receipt in receipts if isinstance(receipt, bytes))
    if not found or len(found) != len(receipts):
        raise _refused("the receipts are not one or more byte strings")
    return UnverifiedBundle(document=document, identity=identity, receipts=found)


def _refused(fact: str) -> ReceiptError:
    return ReceiptError(ErrorCode.RECEIPT_BUNDLE, fact)
