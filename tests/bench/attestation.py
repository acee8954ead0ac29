"""How fast a document is verified: against one P-384 verification, and against the Python verifier on the index."""

import atexit
import base64
import importlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.chain import ChainCache, link_chain
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.signatures import ES384
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384
from tests.bench.figure import Figure, interleaved
from tests.support.recordings import load_index

REPETITIONS = 21
SAMPLE_S = 0.05
"""Long enough that the second core is awake for most of a sample, as it is where documents keep coming."""


def figures() -> list[Figure]:
    """Measure cold, warm chain and warm leaf in units of one P-384 verification, and the peer beside them."""
    document, roots = _document()
    parsed = parse_payload(parse_sign1(document).payload)
    chain = link_chain(parsed, roots, None, frozenset()).certificates
    envelope = parse_sign1(document)
    signature, signed, key = encode_dss_signature(envelope.r, envelope.s), envelope.signed_bytes(), chain[-1].key
    warm = ChainCache()
    verify(document, roots, Recorded(), cache=warm)

    def new_leaf() -> None:
        # what a cache holds before this leaf came: every authority above it
        cache = ChainCache()
        for path, trusted in list(warm._entries.items())[:-1]:
            cache.keep(path, trusted)
        verify(document, roots, Recorded(), cache=cache)

    calls: dict[str, Callable[[], object]] = {
        "primitive": lambda: key.verify(signature, signed, ES384),
        "cold": lambda: verify(document, roots, Recorded()),
        "one thread": lambda: verify(document, roots, Recorded(), threads=1),
        "new leaf": new_leaf,
        "warm": lambda: verify(document, roots, Recorded(), cache=warm),
    }
    peer = _peer(document)
    if peer is not None:
        calls["peer"] = peer
    seconds = interleaved(calls, REPETITIONS, min_time_s=SAMPLE_S)
    one = seconds["primitive"]
    made = [
        Figure.at_most("cold document / P-384 verification", seconds["cold"] / one, "x", 6),
        Figure.at_most("warm chain, new leaf / P-384 verification", seconds["new leaf"] / one, "x", 2.5),
        Figure.at_most("warm leaf / P-384 verification", seconds["warm"] / one, "x", 1.4),
        Figure.plain("cold document on one thread / P-384 verification", seconds["one thread"] / one, "x"),
        Figure.plain("P-384 verification", one * 1e6, "us"),
        Figure.plain("warm documents", 1 / seconds["warm"], "1/s"),
    ]
    if peer is not None:
        made += [
            Figure.at_least("peer / cold document", seconds["peer"] / seconds["cold"], "x", 1.6),
            Figure.at_least("peer / warm leaf", seconds["peer"] / seconds["warm"], "x", 6),
        ]
    return made


def _document() -> tuple[bytes, Roots]:
    """Return a real document where recordings lie beside the checkout, else one of the software NSM."""
    for entry in load_index("attestations"):
        if (
            entry["verdict"] == "accept"
            and entry["kind"] == "enclave"
            and entry["payload_map"].startswith("indefinite")
        ):
            return entry["bytes"], AWS_ROOTS
    sys.stderr.write("no recordings: measuring a document of the software NSM\n")
    pki = DevPki(b"the seed of this benchmark's PKI")
    roots = Roots.pinned(pki.root_fingerprint)
    client = NsmClient(SoftwareNsm(pki=pki, pcrs={0: Sha384(b"b" * 48)}), roots=roots)
    return client.attestation(public_key=None, user_data=None, nonce=b"n" * 32).document, roots


def _peer(document: bytes) -> Callable[[], object] | None:
    """Return one verification by epsilon-attestation-verifier, or None where it is not installed.

    It gets the root as a file, so that it asks no network, may accept expired certificates, as our recorded mode does,
    and is not asked to log.
    """
    try:
        peer = importlib.import_module("epsilon_verifier.verifier")
    except ImportError:
        sys.stderr.write("the peer is not installed (make bench does): its figures are left out\n")
        return None
    logging.getLogger("epsilon_verifier").setLevel(logging.CRITICAL)
    text = base64.b64encode(document).decode()
    root = load_der_x509_certificate(parse_payload(parse_sign1(document).payload).cabundle[0])
    folder = Path(tempfile.mkdtemp(prefix="pcrgate-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "root.pem"
    path.write_bytes(root.public_bytes(Encoding.PEM))

    def call() -> object:
        return peer.verify_attestation(text, aws_root_cert_path=str(path), allow_expired=True)

    verdict = call()
    if getattr(verdict, "valid", False) is not True:
        raise RuntimeError(f"the peer refuses the document: {getattr(verdict, 'error', verdict)}")
    return call
