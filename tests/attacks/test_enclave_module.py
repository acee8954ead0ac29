"""A12, H15 and H6 below the enclave: a module that lies, what belongs to a laptop, what a crash or a listing shows.

No parent reaches the module, so A12 is played at the seam to the device, in this process; the rest at real processes.
"""

import contextlib
import hashlib
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enclave import boot as boot_module
from enclave import configuration as configuration_module
from enclave.configuration import load_configuration
from enclave.phases import Phase
from pcrgate.attestation import cbor, chain
from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.attestation.cbor import decode, encode
from pcrgate.errors import ErrorCode, NsmError, UsageError
from pcrgate.kms import nsm_messages
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from tests.attacks.hostile_boot import Removal, without
from tests.support.commands import wait_until
from tests.support.enclave_stage import ROOT, EnclaveProcess, EnclaveStage, Site, open_site

pytestmark = pytest.mark.network
Forward = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """Answer as a module does, except where the lie says otherwise."""

    inner: SoftwareNsm
    lie: Callable[[Any, Forward], bytes]

    def request(self, data: bytes) -> bytes:
        return self.lie(decode(data), self.inner.request)


def asked(request: Any, name: str) -> bool:
    """Return whether a request is of this kind."""
    return request == name or (isinstance(request, dict) and name in request)


def instead(name: str, made: Callable[[Any, Forward], bytes]) -> Callable[[Any, Forward], bytes]:
    """Return the lie that makes the answer to one kind of request, and leaves all others alone."""
    return lambda request, forward: made(request, forward) if asked(request, name) else forward(encode(request))


def with_more(request: Any, forward: Forward) -> bytes:
    answer: Any = decode(forward(encode(request)))
    return encode({name: fields | {"more": 1} for name, fields in answer.items()})


def for_another_user(request: Any, forward: Forward) -> bytes:
    return forward(encode({"Attestation": request["Attestation"] | {"user_data": b"of another"}}))


def by_something_else(request: Any, forward: Forward) -> bytes:
    return forward(encode({"ExtendPCR": request["ExtendPCR"] | {"data": bytes(48)}}))


def on_paper(request: Any, _: Forward) -> bytes:
    data: bytes = request["ExtendPCR"]["data"]
    return encode({"ExtendPCR": {"data": hashlib.sha384(bytes(48) + data).digest()}})


EXTENDED = (
    boot_module,
    (("after != expected_pcr16(manifest.digest) or self._nsm.describe_pcr(index).value != after", "False"),),
)
LIES: dict[str, tuple[Callable[[Any, Forward], bytes], str, tuple[Removal, ...]]] = {
    "more bytes than an answer has": (
        lambda request, forward: forward(encode(request)) + b"\x00",
        "nsm-response",
        ((cbor, (("end != len(data)", "False"),)),),
    ),
    "an answer beyond its limit": (
        instead("GetRandom", lambda _, __: encode({"GetRandom": {"random": bytes(0x4000)}})),
        "nsm-response",
        ((nsm_messages, (("len(raw) > NSM_RESPONSE_MAX_BYTES", "False"),)),),
    ),
    "a field too many": (
        instead("DescribePCR", with_more),
        "nsm-response",
        ((nsm_messages, (("type(fields) is not dict or fields.keys() != keys", "False"),)),),
    ),
    "a document that says something else": (
        instead("Attestation", for_another_user),
        "nsm-document",
        ((nsm_messages, (("said[name] != value", "False"),)),),
    ),
    "PCR16 extended by something else": (
        instead("ExtendPCR", by_something_else),
        "nsm-response",
        (
            (nsm_messages, (("not hmac.compare_digest(after.digest, hashlib.sha384(before.digest + data).digest())", "False"),)),
            EXTENDED,
        ),
    ),
    "PCR16 said to be extended, and is not": (
        instead("ExtendPCR", on_paper),
        "enclave-manifest-lock",
        (EXTENDED,),
    ),
    "PCR16 said to be locked, and is not": (
        instead("LockPCR", lambda _, __: encode("LockPCR")),
        "nsm-response",
        ((nsm_messages, (("not self.describe_pcr(index).locked", "False"),)),),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def site(stage: EnclaveStage) -> Iterator[Site]:
    with open_site(stage) as found:
        yield found


def lying(site: Site, lie: Callable[[Any, Forward], bytes]) -> str | None:
    """Boot on a module that lies, and return the code it failed with; None when it went live."""
    inner = SoftwareNsm(pki=site.stage.twin.pki, pcrs={0: site.stage.measured()})
    phases, _ = site.boot(nsm=Lying(inner=inner, lie=lie))
    assert (phases.phase is Phase.LIVE) is (phases.failure is None)
    return None if phases.failure is None else phases.failure.code


@pytest.mark.parametrize("name", LIES)
def test_a12_whatever_the_module_answers_is_checked(name: str, site: Site) -> None:
    lie, code, checks = LIES[name]
    assert lying(site, lie) == code
    with contextlib.ExitStack() as stack:
        for check in checks:
            assert lying(site, lie) is not None
            without(stack, check)
        assert lying(site, lie) is None


@pytest.mark.parametrize(
    "answer", [b"", b"\xff" * 9, b"\xa1\x65Error\x6dInternalError", b"\xa1\x65Error\x01", bytes(0x4001)]
)
def test_a12_garbage_ends_the_boot(answer: bytes, site: Site) -> None:
    assert (lying(site, lambda _, __: answer) or "").startswith("nsm-")


def test_a12_a_document_cut_short_ends_the_boot(site: Site) -> None:
    cut = instead("Attestation", lambda request, forward: forward(encode(request))[:-1])
    assert lying(site, cut) == "nsm-response"


def test_a12_a_module_whose_pcr16_was_used_before_is_refused(site: Site) -> None:
    """The attack: evidence that names another manifest than the one that is live."""
    nsm = SoftwareNsm(pki=site.stage.twin.pki, pcrs={0: site.stage.measured()})
    nsm.request(encode({"ExtendPCR": {"index": 16, "data": hashlib.sha384(b"another manifest").digest()}}))
    phases, _ = site.boot(nsm=nsm)
    assert phases.failure is ErrorCode.ENCLAVE_MANIFEST_LOCK
    used = ("before.locked or not before.value.is_zero", "False")
    with contextlib.ExitStack() as stack:
        without(stack, (boot_module, (used, *EXTENDED[1])))
        phases, _ = site.boot(nsm=nsm)
    assert phases.phase is Phase.LIVE


UNPINNED: Removal = (chain, (("path not in roots.fingerprints", "False"),))


def test_h15_a_document_of_the_development_root_is_refused_by_production(stage: EnclaveStage) -> None:
    """Who swaps the module for the twin's has documents of the twin's root, and production knows Amazon's alone."""
    client = NsmClient(SoftwareNsm(pki=stage.twin.pki, pcrs={0: stage.measured()}), roots=AWS_ROOTS)
    with pytest.raises(NsmError) as refused:
        client.attestation()
    assert refused.value.code is ErrorCode.NSM_DOCUMENT
    with contextlib.ExitStack() as stack:
        without(stack, UNPINNED)
        client.attestation()


def test_h15_production_refuses_a_configuration_of_a_laptop(stage: EnclaveStage) -> None:
    with pytest.raises(UsageError, match="development_roots"):
        load_configuration(stage.configuration, production=True)
    with contextlib.ExitStack() as stack:
        without(stack, (configuration_module, (("production and made.development_roots", "False"),)))
        load_configuration(stage.configuration, production=True)


def laptop_parts(*lines: str) -> list[str]:
    """Return which modules of a laptop a production root loads, with these lines put in front of it."""
    shown = "print(*(m for m in sys.modules if m.split('.')[0] in {'local', 'moto'} or m.startswith('pcrgate.twin')))"
    code = "; ".join(("import sys", *lines, "import enclave.__main__", shown))
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
    return run.stdout.decode().split()


def test_h15_production_has_nothing_of_a_laptop_and_no_way_to_ask_for_it() -> None:
    """No check keeps the twin out, it is not there: the search finds it once somebody imports it."""
    assert laptop_parts() == []
    assert {"pcrgate.twin.nsm", "pcrgate.twin.pki"} <= set(laptop_parts("import pcrgate.twin.nsm"))
    assert "local.measurement" in laptop_parts("import local.measurement")
    text = (ROOT / "enclave" / "__main__.py").read_text()
    assert not any(word in text for word in ("argv", "argparse", "environ.get", "getenv"))


PROCESS = """
import ctypes, resource, sys
from enclave import hardening
from local.__main__ import main
from tests.attacks.mutants import mutant
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
def run():
    code = main()
    sys.stderr.write(f"dumpable {ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}")
    sys.exit(code)
"""
"""An enclave on a host that wants cores; when it ends it says whether the kernel would have given others its memory."""

DUMPS = (
    ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "pass"),
    ("ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)", "pass"),
)


def core_of(site: Site, command: Sequence[str]) -> tuple[list[str], bytes]:
    """Return the core limits of an enclave process, and what it printed at its end."""
    process = EnclaveProcess(site, command=command)
    process.wait("live")
    limits = Path(f"/proc/{process.process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    return line.split()[4:6], process.stop()[1]


def test_h6_no_core_is_dumped_and_nobody_reads_its_memory(stage: EnclaveStage) -> None:
    with open_site(stage) as site:
        assert core_of(site, (sys.executable, "-c", f"{PROCESS}run()")) == (["0", "0"], b"dumpable 0")
    without_both = f"{PROCESS}with mutant(hardening, *{DUMPS[0]!r}, {DUMPS[1]!r}):\n    run()"
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    with open_site(stage) as site:
        assert core_of(site, (sys.executable, "-c", without_both)) == ([shown, shown], b"dumpable 1")


def listed(process: EnclaveProcess, secret: str) -> bool:
    """Return whether whoever lists processes sees a secret."""
    folder = Path(f"/proc/{process.process.pid}")
    return any(secret.encode() in (folder / name).read_bytes() for name in ("cmdline", "environ", "comm"))


def test_h6_h7_no_secret_is_in_arguments_or_environment(
    stage: EnclaveStage, enclave: EnclaveProcess, tmp_path: Path
) -> None:
    """They come over the broker's socket; the listing shows one once somebody passes it on in the environment."""
    secret = stage.parent_credentials.secret_access_key
    assert not listed(enclave, secret)
    assert not listed(enclave, stage.parent_credentials.session_token or secret)
    careless = EnclaveProcess(
        enclave.site, environment={"HOSTNAME": secret}, places={"--socket": tmp_path / "enclave.sock"}
    )
    try:
        wait_until(lambda: listed(careless, secret))
    finally:
        careless.stop()
