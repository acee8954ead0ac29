"""Number every check: the numbers of docs/verification.md, of the comments beside the code, and of the results."""

from dataclasses import dataclass
from enum import Enum


class Check(Enum):
    """Name a check of docs/verification.md, in the order it is made.

    Attributes:
        number: its number in the document.
        label: a stable identifier.
        meaning: one line of what holds once it passed.
    """

    number: int
    label: str
    meaning: str

    def __init__(self, number: int, label: str, meaning: str) -> None:
        self.number = number
        self.label = label
        self.meaning = meaning

    SIZE = (1, "size", "the document is not longer than a payload of 16384 bytes and its envelope")
    ENVELOPE = (2, "envelope", "one CBOR item, an array of four, tag 18 or none, nothing after it")
    HEADERS = (3, "headers", "protected header {1: -35}, unprotected header empty")
    SIGNATURE_FORM = (4, "signature-form", "96 bytes, r and s in [1, n-1]")
    PAYLOAD = (5, "payload", "one map in strict CBOR without duplicate keys")
    UNKNOWN_FIELDS = (6, "unknown-fields", "fields without a name in the specification are surfaced")
    KIND = (7, "kind", "exactly one of pcrs and nitrotpm_pcrs")
    FIELDS = (8, "fields", "every field has its type and limits")
    CERTIFICATES_FORM = (9, "certificates-form", "one leaf and a bundle of 1 to 8, each 1 to 1024 bytes")
    ANCHOR = (10, "anchor", "the first of the bundle hashes to a pinned root")
    ORDER = (11, "order", "each certificate is issued by the one above it, in the bundle's own order")
    PROFILE = (12, "profile", "X.509 v3, strict DER, ecdsa-with-SHA384, P-384 keys on the curve")
    LINKS = (13, "links", "issuer equals subject, key identifiers agree, no certificate stands twice")
    USAGE = (14, "usage", "CAs may sign within their path length, the leaf may sign and is no CA")
    EXTENSIONS = (15, "extensions", "no unknown critical extension, none twice")
    VALIDITY = (16, "validity", "every certificate is valid at the chosen time and at the document's own")
    REVOCATION = (17, "revocation", "no certificate is in the revocation set")
    SIGNATURE = (18, "signature", "ES384 by the leaf over the original bytes")
    FRESHNESS = (19, "freshness", "not older than the maximum age, not ahead of the clock")
    PCR0 = (20, "pcr0", "PCR0 is one of the reference values")
    DEBUG = (21, "debug", "none of PCR0, PCR1, PCR2 is zero")
    PCRS = (22, "pcrs", "further registers are as expected")
    BINDINGS = (23, "bindings", "nonce, user data and public key are as expected")
    NAMES = (24, "names", "the certificate names agree with module id, instance and region")
    INSTANCE = (25, "instance", "PCR4 is SHA-384 over 48 zero bytes and the instance id")
    LAUNCH = (26, "launch", "the undocumented times in module id and serial are plausible")
    RESULT = (27, "result", "the result lists what was checked and what was not")
    TOTAL = (28, "total", "no input raises anything but our errors, recurses without bound, or reaches a network")
    FUZZED = (29, "fuzzed", "flips of every byte and generated input are refused")
    CACHE = (30, "cache", "a cached chain is bounded and every ancestor's validity is checked again")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckMade:
    """Record one check of one document.

    Attributes:
        check: which.
        detail: public facts, for example the name of the reference value that matched.
    """

    check: Check
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOmitted:
    """Record one check that was not made, and whose choice that was.

    Attributes:
        check: which.
        subject: what was not compared, for example ``nonce`` or ``PCR3``.
        reason: why.
    """

    check: Check
    subject: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Record something odd that is no reason to refuse.

    Attributes:
        label: a stable identifier.
        detail: the fact.
    """

    label: str
    detail: str
