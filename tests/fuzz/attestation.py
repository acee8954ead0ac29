"""Fuzz the verifier's readers, guided by coverage, for a bounded time: ``python -m tests.fuzz.attestation``.

Anything but one of our errors is a crash. The report names the slowest input, since a reader that can be made slow is a
way to deny service. The corpus starts from documents of the software NSM, real ones where recordings lie beside the
checkout, and the vectors.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pcrgate.attestation"]):
    from pcrgate.attestation.anchors import AWS_ROOTS, Roots
    from pcrgate.attestation.certificate import parse_certificate
    from pcrgate.attestation.chain import ChainCache
    from pcrgate.attestation.cose import parse_sign1
    from pcrgate.attestation.document import parse_payload
    from pcrgate.attestation.text import read_document_text
    from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.errors import EvidenceError
from tests.support.recordings import load_index
from tests.unit.attestation.documents import ROOTS, document, nsm

SLOWEST_AIM_MS = 50
INPUT_MAX_BYTES = 20_000
_REPORT = Path(__file__).resolve().parents[2] / "build" / "fuzz.json"
_ROOTS = Roots(fingerprints=AWS_ROOTS.fingerprints | ROOTS.fingerprints)
_CACHE = ChainCache()


class Watch:
    """Remember the slowest input, and how many there were.

    Time is the processor's, on the one thread that works: a busy machine makes no input slow.
    """

    def __init__(self) -> None:
        self.inputs = 0
        self.accepted = 0
        self.slowest_s = 0.0
        self.slowest = b""

    def run(self, data: bytes) -> None:
        """Hand one input to every reader; whatever is not an EvidenceError escapes and is a crash."""
        self.inputs += 1
        start = time.thread_time()
        try:
            verify(data, _ROOTS, Recorded(), cache=_CACHE, threads=1)
            self.accepted += 1
        except EvidenceError:
            pass
        for read in (parse_sign1, parse_payload, parse_certificate, read_document_text):
            try:
                read(data or b"\0")
            except EvidenceError:
                continue
        elapsed = time.thread_time() - start
        if elapsed > self.slowest_s:
            self.slowest_s, self.slowest = elapsed, data


def _seeds() -> list[bytes]:
    documents = [document(), document(nsm(definite_map=True)), document(nsm(kind="nitrotpm", pcrs={}))]
    documents += [entry["bytes"] for entry in load_index("attestations")[:4]]
    payloads = [parse_sign1(entry).payload for entry in documents]
    certificates = [der for payload in payloads[:1] for der in parse_payload(payload).cabundle]
    return [*documents, *payloads, *certificates]


def main() -> None:
    """Fuzz for ``--seconds``, write ``build/fuzz.json`` and print the slowest input."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    watch = Watch()
    corpus = Path(tempfile.mkdtemp(prefix="pcrgate-fuzz-"))
    for number, seed in enumerate(_seeds()):
        (corpus / f"{number:03d}").write_bytes(seed)
    started = time.monotonic()

    def one(data: bytes) -> None:
        watch.run(data)
        if time.monotonic() - started >= options.seconds:
            _finish(watch, corpus)

    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_len={INPUT_MAX_BYTES}",
        "-verbosity=0",
        "-artifact_prefix=build/fuzz-",
    ]
    _REPORT.parent.mkdir(exist_ok=True)
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _finish(watch: Watch, corpus: Path) -> None:
    shutil.rmtree(corpus)
    slowest_ms = watch.slowest_s * 1000
    report = {
        "inputs": watch.inputs,
        "accepted": watch.accepted,
        "slowest_ms": round(slowest_ms, 3),
        "slowest_bytes": len(watch.slowest),
        "slowest_hex": watch.slowest.hex(),
        "aim_ms": SLOWEST_AIM_MS,
    }
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(
        f"fuzz: {watch.inputs} inputs, no crash; slowest {slowest_ms:.1f} ms for {len(watch.slowest)} bytes "
        f"(aim {SLOWEST_AIM_MS} ms); build/fuzz.json has it\n"
    )
    sys.stdout.flush()
    # libFuzzer has no way to end a run from inside that counts as success
    os._exit(0)


if __name__ == "__main__":
    main()
