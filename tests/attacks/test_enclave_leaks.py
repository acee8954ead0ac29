"""H6: canaries in every secret; every byte that leaves the enclave is searched for them, raw, in hex and in base64."""

import asyncio
import base64
import importlib.util
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enclave import invocations
from enclave.workloads import registry
from enclave.workloads.contract import Invocation, Outcome, Workload
from local.measurement import ROOT
from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.cbor import decode
from pcrgate.manifest.grants import ActionRule, Grant
from pcrgate.wire import messages as wire
from service.addresses import UnixAddress
from service.enclave_link import EnclaveLink, EnclaveRefusedError
from tests.attacks.hostile_peer import agent_at
from tests.attacks.mutants import mutant
from tests.support.commands import wait_until
from tests.support.enclave_agent import TestAgent, query, vector
from tests.support.enclave_stage import WEIGHTS, EnclaveStage, open_site, open_stage, running
from tests.support.onnx_model import adding_model
from tests.support.tap import Tap

pytestmark = pytest.mark.network
CANARY_BYTES = 24


def forms(canary: bytes) -> Iterator[bytes]:
    """Yield the ways in which a secret would show."""
    yield canary
    yield canary.hex().encode()
    yield canary.hex().upper().encode()
    for shift in range(3):  # base64 of the canary wherever it begins in a longer text, without its edges
        encoded = base64.b64encode(bytes(shift) + canary)
        inner = encoded[4 if shift else 0 : -4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def leaks(canary: bytes, left: bytes) -> bool:
    """Return whether a canary is in what left."""
    return any(form in left for form in forms(canary))


@pytest.fixture(scope="module")
def stage() -> Iterator[EnclaveStage]:
    with open_stage() as found:
        yield found


@pytest.mark.parametrize("shift", range(4))
def test_the_search_finds_what_it_looks_for(shift: int) -> None:
    canary = os.urandom(CANARY_BYTES)
    text = os.urandom(shift) + canary + os.urandom(5)
    assert leaks(canary, b"x" + text + b"y")
    assert leaks(canary, text.hex().encode())
    assert leaks(canary, base64.b64encode(text))
    assert leaks(canary, base64.urlsafe_b64encode(text))
    assert not leaks(canary, os.urandom(10_000))


def test_no_secret_leaves_in_any_form(stage: EnclaveStage) -> None:
    numbers = tuple(float(int.from_bytes(os.urandom(2), "big") + 1) / 7 for _ in range(CANARY_BYTES // 4))
    weights = struct.pack(f"<{len(numbers)}f", *numbers)
    model = stage.seal("adder", adding_model(numbers), epoch=9)
    manifest = replace(stage.manifest, secrets=(model.secret,))
    table = "canary-" + os.urandom(CANARY_BYTES).hex()
    with open_site(stage, manifest=manifest) as site, ExitStack() as stack:
        assert site.parent is not None
        taps = {
            name: Tap(site.folder / f"{name}-tap.sock", site.folder / f"{name}.sock")
            for name in ("broker", "relay", "enclave")
        }
        for tap in taps.values():
            site.parent._serving.append(_started(site.parent, tap))
            wait_until(tap.path.exists)
        places = {"--broker": taps["broker"].path, "--relay": taps["relay"].path}
        process = stack.enter_context(running(site, places=places))
        process.wait("live")
        link = EnclaveLink(UnixAddress(path=taps["enclave"].path))

        def ask(message: wire.Message, expected: Any) -> Any:
            assert site.parent is not None
            return site.parent.run(link.ask(message, expected), 30)

        roots = Roots.pinned(stage.twin.pki.root_fingerprint)
        agent = TestAgent(ask, roots=roots, pcr0=stage.measured()).open()
        zeros = agent.invoke("infer", vector(*[0.0] * len(numbers)))
        result: Any = decode(zeros.inner["result"])
        assert result["outputs"]["y"]["data"] == weights  # the secret is in use: the agent alone reads it
        assert (
            "problem"
            in agent.invoke("validate", agent.action("database.query", {"table": table, "rows": 1}, "report")).inner
        )
        assert "problem" in agent.invoke("validate", table.encode()).inner
        assert "problem" in agent.invoke("infer", vector(1.0)).inner
        assert "result" in agent.invoke("validate", agent.action(*query())).inner
        with pytest.raises(EnclaveRefusedError):
            ask(wire.Invoke(record=table.encode() * 2), wire.InvokeAnswer)
        ask(wire.ReceiptsRequest(first=1), wire.ReceiptsAnswer)
        ask(wire.StatusRequest(), wire.StatusAnswer)
        agent.goodbye()
        site.parent.run(link.close(), 10)
        printed = b"".join(process.stop())
        left = bytes(taps["broker"].there + taps["relay"].there + taps["enclave"].back) + printed
        came = bytes(taps["broker"].back)
    assert len(left) > 10_000
    credentials = stage.parent_credentials
    assert credentials.secret_access_key.encode() in came  # the taps see what there is to see
    for name, canary in {
        "weights": weights,
        "secret access key": credentials.secret_access_key.encode(),
        "session token": (credentials.session_token or "").encode(),
        "request": table.removeprefix("canary-").encode(),
        "request bytes": bytes.fromhex(table.removeprefix("canary-")),
    }.items():
        assert len(canary) >= 16
        assert not leaks(canary, left), name
    assert printed == b""


def _started(parent: Any, tap: Tap) -> Any:
    return asyncio.run_coroutine_threadsafe(tap.serve(), parent._loop)


class Crashing:
    """Crash with a secret in the exception's text."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def carry_out(self, invocation: Invocation) -> Outcome:
        raise RuntimeError(f"crashed at {self.secret} for {invocation.agent}")


def booted(stage: EnclaveStage, stack: ExitStack, extra: Workload, action: str) -> tuple[TestAgent, Any]:
    """Return an agent of an enclave in this process that has one workload more."""
    grant = Grant(agent="one", workload=extra.name, actions=(ActionRule(action=action),), expires_ms=stage.expires_ms)
    manifest = replace(stage.manifest, grants=(*stage.manifest.grants, grant))
    configuration = stage.write_configuration(f"{extra.name}.json", workloads=["validate", extra.name])
    stage.approve(stage.measured(), stage.measured(configuration))
    site = stack.enter_context(open_site(stage, manifest=manifest))
    phases, desk = site.boot(configuration=configuration, known=(*registry.WORKLOADS, extra))
    assert phases.failure is None
    roots = Roots.pinned(stage.twin.pki.root_fingerprint)
    agent = TestAgent(lambda message, _: desk.answer(message), roots=roots, pcr0=stage.measured(configuration))
    return agent.open(), desk


def test_a_crash_of_a_workload_is_contained_and_tells_nothing(stage: EnclaveStage) -> None:
    secret = os.urandom(CANARY_BYTES).hex()
    crashing = Workload(name="crash", secret_class=None, once=False, start=lambda _: Crashing(secret))
    with ExitStack() as stack:
        agent, _ = booted(stage, stack, crashing, "any")
        answer = agent.invoke("crash", b"request")
        assert answer.inner["problem"]["code"] == "workload-failed"
        assert secret not in repr(answer.inner)
        assert answer.receipt.claims.observed.code == "workload-failed"
        assert "result" in agent.invoke("validate", agent.action(*query())).inner
        shown = '"the workload ended in an error of its own"'
        with mutant(invocations, shown, 'str(__import__("sys").exc_info()[1])'):
            assert secret in repr(agent.invoke("crash", b"request").inner)


def test_the_third_workload_of_the_documentation_works(stage: EnclaveStage, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "enclave.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "count.py").write_text(code)
    spec = importlib.util.spec_from_file_location("count", tmp_path / "count.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ExitStack() as stack:
        agent, _ = booted(stage, stack, module.WORKLOAD, "count")
        assert agent.invoke("count", b"seven..").inner["result"] == b"7"


def test_h6_a_result_leaves_sealed_and_the_search_finds_one_that_does_not(stage: EnclaveStage) -> None:
    """Frames are all that leaves; in this process they are read where they are made."""
    weights, left = struct.pack(f"<{len(WEIGHTS)}f", *WEIGHTS), bytearray()
    with open_site(stage) as site:
        _, desk = site.boot()

        def ask(message: wire.Message, _: Any) -> wire.Message:
            answer = desk.answer(message)
            left.extend(wire.encode_message(answer))
            return answer

        agent = agent_at(site, ask).open()
        zeros = vector(*[0.0] * len(WEIGHTS))
        result: Any = decode(agent.invoke("infer", zeros).inner["result"])
        assert result["outputs"]["y"]["data"] == weights
        assert not leaks(weights, bytes(left))
        with mutant(invocations, "InvokeAnswer(record=sealed.record,", "InvokeAnswer(record=encode(answer),"):
            ask(wire.Invoke(record=agent.seal("infer", zeros).record), wire.InvokeAnswer)
        assert leaks(weights, bytes(left))
