"""H19: agents that ask without end. One is held to its rate, others are served, and every refusal has its receipt."""

import contextlib
import os

import pytest

from enclave import handshakes, invocations
from enclave.rates import SESSION_RATE, Rate
from pcrgate.errors import ErrorCode
from pcrgate.wire import messages as wire
from service.enclave_link import EnclaveRefusedError
from tests.attacks.hostile_peer import agent_at, agent_of_desk, receipts_of, served, verified
from tests.attacks.mutants import mutant
from tests.support.enclave_agent import Ask, TestAgent, query
from tests.support.enclave_stage import OTHER_AGENT, EnclaveProcess, Site

pytestmark = pytest.mark.network
FLOOD = 400
"""Most hellos that are tried: enough for a machine that makes two a second."""


def begins(agent: TestAgent) -> ErrorCode | None:
    """Send a hello that nobody will confirm, and return what it was refused with."""
    nonce = os.urandom(32)
    agent.identity = agent.appraised(nonce, agent.ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer))
    return refusal(agent, wire.SessionOpen(hello=agent.handshake(nonce).hello), wire.SessionOpenAnswer)


def refusal(agent: TestAgent, message: wire.Message, expected: type[wire.Message]) -> ErrorCode | None:
    """Return what a request was refused with, None when it was answered; a refusal without receipt is an error."""
    try:
        agent.ask(message, expected)
    except EnclaveRefusedError as refused:
        return refused.code if refused.problem.receipt else ErrorCode.INTERNAL
    return None


def other_at(site: Site, ask: Ask) -> TestAgent:
    return agent_at(site, ask, name="two", key=OTHER_AGENT)


def released(site: Site) -> int:
    """Return how many session keys KMS made."""
    return sum(record["eventName"] == "GenerateDataKey" for record in site.stage.twin.audit.records())


def test_h19_an_agent_that_begins_sessions_without_end_is_slowed(enclave: EnclaveProcess, site: Site) -> None:
    """It never confirms, so tables would stop it only after KMS was asked; the rate stops it before."""
    flooding = agent_at(site, enclave.ask)
    before = released(site)
    seen: list[ErrorCode | None] = []
    while ErrorCode.AGENT_RATE not in seen and len(seen) < FLOOD:
        seen.append(begins(flooding))
    asked = released(site) - before
    assert seen[-1] is ErrorCode.AGENT_RATE
    assert SESSION_RATE.burst <= asked == len(seen) - 1
    honest = other_at(site, enclave.ask).open()
    assert "result" in honest.invoke("validate", honest.action(*query())).inner
    codes = [receipt.claims.observed.code for receipt in verified(honest, receipts_of(enclave))]
    assert codes.count("agent-rate") == seen.count(ErrorCode.AGENT_RATE)


def test_h19_without_the_rate_kms_is_asked_each_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "SESSION_RATE", Rate(per_s=0, burst=2))
    charged = (
        'self._rates.take(context["agent"], self._clock.now_ms())\n        return self._data_keys.generate(context)'
    )

    def flooded() -> int:
        agent = agent_of_desk(site, site.boot()[1])
        before = released(site)
        while begins(agent) is None and released(site) - before < 12:
            pass
        return released(site) - before

    assert flooded() == 2
    with mutant(handshakes, charged, "return self._data_keys.generate(context)"):
        assert flooded() == 12


def test_h19_an_agent_that_floods_is_held_to_its_rate_and_others_are_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocations, "INVOCATION_RATE", Rate(per_s=0, burst=20))
    desk = site.boot()[1]
    agent = agent_of_desk(site, desk).open()
    other = other_at(site, agent.ask).open()

    def flooded() -> list[str]:
        answers = [agent.invoke("validate", agent.action(*query())) for _ in range(60)]
        for answer in answers:  # whatever becomes of a record, its receipt says so
            assert answer.receipt.claims.observed.code == answer.inner.get("problem", {}).get("code")
        return [answer.inner["problem"]["code"] for answer in answers if "problem" in answer.inner]

    refused = flooded()
    assert refused == ["agent-rate"] * 40
    served(other)
    charged = "self._rates.take(session.agent_id, self._clock.now_ms())"
    with mutant(invocations, charged, "str(session.agent_id)"):
        assert flooded() == []


def test_h19_nobody_else_uses_up_an_agents_share(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent sends records in the agent's name, and its own ones again and again: neither is charged."""
    monkeypatch.setattr(invocations, "INVOCATION_RATE", Rate(per_s=0, burst=20))
    agent = agent_of_desk(site, site.boot()[1]).open()

    def exhausted() -> bool:
        genuine = agent.seal("validate", agent.action(*query())).record
        forged = genuine[:-1] + bytes((genuine[-1] ^ 1,))
        for record in (forged, genuine):
            for _ in range(30):
                refusal(agent, wire.Invoke(record=record), wire.InvokeAnswer)
        with contextlib.suppress(EnclaveRefusedError):
            return "problem" in agent.invoke("validate", agent.action(*query())).inner
        return True

    assert not exhausted()
    early = "opened = session.open(record, now_ms=self._clock.now_ms())"
    charge = "self._rates.take(session.agent_id, self._clock.now_ms())"
    with mutant(invocations, early, f"{charge}\n        {early}"):
        assert exhausted()
