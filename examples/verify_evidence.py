"""Walk through the verification of an attestation document, by hand first and with the library then.

    python examples/verify_evidence.py                          a document of the software NSM, judged live
    python examples/verify_evidence.py FILE --root aws          a real one, judged at its own time
    python examples/verify_evidence.py FILE --root HEX --pcr0 HEX

The numbers are those of docs/verification.md. By hand, every step prints what it looks at; nothing of it is needed in a
program, where ``verify`` and ``appraise`` make all the checks.
"""

import argparse
import hashlib
import secrets
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.attestation.policy import EnclavePolicy, Equal, Expectation, OneOf, ReferenceValue
from pcrgate.attestation.text import read_document_text
from pcrgate.attestation.verifier import Live, Recorded, verify
from pcrgate.errors import PcrgateError
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384


def by_hand(document: bytes, roots: Roots) -> None:
    """Show what is inside a document, and check its signature with nothing but an X.509 and an ECDSA library."""
    print("1, 2  size and envelope:", len(document), "bytes of CBOR, an array of four (COSE_Sign1)")
    # A real document carries no tag, or tag 18 in one byte.
    protected, unprotected, payload, signature = parts(decode(document.removeprefix(b"\xd2")))
    print("3     headers:", protected.hex(), unprotected, "which is {1: -35}, ES384")
    print("4     signature:", len(signature), "bytes, r and s")

    fields = decode(payload, indefinite_top=True)  # as the device writes it since June 2025
    if not isinstance(fields, dict):
        raise SystemExit("the payload is no map")
    print("5-8   payload:", ", ".join(str(name) for name in fields))
    bundle = [x509.load_der_x509_certificate(der) for der in listed(fields["cabundle"])]
    leaf = x509.load_der_x509_certificate(octets(fields["certificate"]))

    anchor = hashlib.sha256(listed(fields["cabundle"])[0]).digest()
    print("10    anchor:", anchor.hex(), "pinned" if anchor in roots.fingerprints else "NOT PINNED")
    for above, below in zip(bundle, [*bundle[1:], leaf], strict=True):
        below.verify_directly_issued_by(above)  # 11, 13: one name, and one signature, a link
        print("11-17 chain:", below.subject.rfc4514_string()[:60], "until", below.not_valid_after_utc.isoformat())

    # 18: the signature is over this structure, with the original bytes of header and payload.
    signed = encode(["Signature1", protected, b"", payload])
    r, s = (int.from_bytes(half, "big") for half in (signature[:48], signature[48:]))
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SystemExit("the leaf's key is of another kind")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA384()))
    print("18    signature: by the leaf's key, over header and payload")


def with_the_library(document: bytes, roots: Roots, when: Live | Recorded, policy: EnclavePolicy) -> None:
    """Make every check; nothing else belongs into a program."""
    evidence = verify(document, roots, when)
    print(f"\nauthentic: {evidence.module_id}, {evidence.region}, {len(evidence.checks)} checks")
    result = appraise(evidence, policy)
    print("accepted:", ", ".join(f"PCR{index} is {name}" for index, name in result.matched))
    # One byte changed anywhere, and there is a refusal with a code, never a result to forget to look at.
    try:
        verify(document[:-1] + bytes([document[-1] ^ 1]), roots, when)
    except PcrgateError as refusal:
        print("one bit changed:", refusal.code.code)
    try:
        appraise(evidence, EnclavePolicy(pcr0=reference(b"another image"), nonce=policy.nonce,
                                         user_data=policy.user_data, public_key=policy.public_key))  # fmt: skip
    except PcrgateError as refusal:
        print("another image approved:", refusal.code.code)


def reference(image: bytes) -> OneOf:
    """Return the reference value of an image that is named by its bytes."""
    return OneOf((ReferenceValue(name="release-1", value=Sha384(hashlib.sha384(image).digest())),))


def parts(value: CborValue) -> tuple[bytes, CborValue, bytes, bytes]:
    """Return the four parts of an envelope."""
    if not isinstance(value, list) or len(value) != 4:
        raise SystemExit("the document is no array of four")
    return octets(value[0]), value[1], octets(value[2]), octets(value[3])


def listed(value: CborValue) -> list[bytes]:
    """Return a list of byte strings."""
    return [octets(entry) for entry in value] if isinstance(value, list) else []


def octets(value: CborValue) -> bytes:
    """Return a byte string."""
    if not isinstance(value, bytes):
        raise SystemExit("a byte string was expected")
    return value


def main() -> None:
    """Verify a document of the software NSM, or the one in a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="an attestation document: raw, base64 or hex")
    parser.add_argument("--root", default="aws", help="aws, or the SHA-256 of another root, hex")
    parser.add_argument("--pcr0", help="the approved PCR0, hex; that of the document itself when left out")
    given = parser.parse_args()
    if given.file is None:
        pki, nonce = DevPki.ephemeral(), secrets.token_bytes(32)
        roots = Roots.pinned(pki.root_fingerprint)
        nsm = SoftwareNsm(pki=pki, pcrs={0: Sha384(hashlib.sha384(b"an image").digest())})
        document = NsmClient(nsm, roots=roots).attestation(nonce=nonce).document
        by_hand(document, roots)
        now = Live(now_ms=time.time_ns() // 1_000_000)
        policy = EnclavePolicy(pcr0=reference(b"an image"), nonce=Equal(nonce), user_data=Expectation.ABSENT,
                               public_key=Expectation.IGNORED)  # fmt: skip
        with_the_library(document, roots, now, policy)
        return
    document = read_document_text(Path(given.file).read_bytes())
    roots = AWS_ROOTS if given.root == "aws" else Roots.pinned(bytes.fromhex(given.root))
    by_hand(document, roots)
    own = verify(document, roots, Recorded()).pcrs[0]
    approved = own if given.pcr0 is None else Sha384.from_hex(given.pcr0)
    with_the_library(
        document,
        roots,
        Recorded(),
        EnclavePolicy(
            pcr0=OneOf((ReferenceValue(name="given" if given.pcr0 else "its own", value=approved),)),
            nonce=Expectation.IGNORED,
            user_data=Expectation.IGNORED,
            public_key=Expectation.IGNORED,
        ),
    )


if __name__ == "__main__":
    main()
