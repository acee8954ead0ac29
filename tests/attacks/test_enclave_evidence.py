"""F2, F3, H2, F10 and H10 at a running enclave: cached evidence, the wrong enclave, second effects, withheld receipts.

Each attack is played against the real enclave process; its mutant boots in this process.
"""

import asyncio
import contextlib
import itertools
import os

import pytest

from enclave import boot as boot_module
from enclave import identity as identity_module
from enclave import invocations
from enclave.phases import Phase
from enclave.workloads import validate
from pcrgate.attestation import appraisal
from pcrgate.envelope import session_enclave, session_window
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.errors import ErrorCode, EvidenceError, ReceiptError
from pcrgate.receipts import verification
from pcrgate.receipts.verification import find_gaps, verify_chain
from pcrgate.units import Sha384
from pcrgate.wire import messages as wire
from service.enclave_link import EnclaveRefusedError
from service.relay import Relay
from tests.attacks.hostile_boot import play
from tests.attacks.hostile_peer import agent_at, agent_of_desk, asking, receipts_of, served, verified
from tests.attacks.mutants import mutant
from tests.support.enclave_agent import Ask, TestAgent, payment
from tests.support.enclave_stage import EnclaveProcess, EnclaveStage, Site, open_site

pytestmark = pytest.mark.network


def both_fresh(site: Site, ask: Ask) -> bool:
    """Ask with two nonces, as two agents behind one parent do, and return whether each gets evidence for its own."""
    documents = set()
    for nonce in (os.urandom(32), os.urandom(32)):
        answer = ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer)
        documents.add(answer.document)
        with contextlib.suppress(EvidenceError):
            agent_at(site, ask).appraised(nonce, answer)
            continue
        return False
    return len(documents) == 2


def test_f3_two_nonces_get_two_documents(enclave: EnclaveProcess, site: Site) -> None:
    """Nothing is cached, so there is no check to remove: the mutant is the cache that others have."""
    assert both_fresh(site, enclave.ask)
    ask = asking(site.boot()[1])
    assert both_fresh(site, ask)
    made = "self._nsm.attestation(public_key=self._public_key, user_data=self._user_data, nonce=request.nonce)"
    with mutant(identity_module, made, f'vars(self).setdefault("kept", {made})'):
        assert not both_fresh(site, ask)


def test_f2_f3_recorded_evidence_does_not_answer_a_new_nonce(enclave: EnclaveProcess, agent: TestAgent) -> None:
    recorded = enclave.ask(wire.EvidenceRequest(nonce=os.urandom(32)), wire.EvidenceAnswer)
    with pytest.raises(EvidenceError) as refused:
        agent.appraised(os.urandom(32), recorded)
    assert refused.value.code is ErrorCode.NONCE_MISMATCH
    compared = 'appraisal.field("nonce", evidence.nonce, policy.nonce, ErrorCode.NONCE_MISMATCH)'
    with mutant(appraisal, compared, "pass"):
        agent.appraised(os.urandom(32), recorded)


def confused(site: Site, appraised: Ask, asked: Ask) -> ErrorCode | None:
    """Let an agent appraise one enclave and take its hello to another; both were asked under the agent's nonce."""
    nonce = os.urandom(32)
    agent = agent_at(site, appraised)
    agent.identity = agent.appraised(nonce, appraised(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer))
    asked(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer)
    try:
        asked(wire.SessionOpen(hello=agent.handshake(nonce).hello), wire.SessionOpenAnswer)
    except EnclaveRefusedError as refused:
        return refused.code
    return None


def test_h2_a_hello_for_one_enclave_opens_nothing_in_another(
    enclave: EnclaveProcess, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same image, same manifest, same parent: what tells two enclaves apart are the keys and the name of their boots."""
    one, other = asking(site.boot()[1]), asking(site.boot()[1])
    assert confused(site, one, enclave.ask) is ErrorCode.SESSION_IDENTITY
    assert confused(site, enclave.ask, one) is ErrorCode.SESSION_IDENTITY
    assert confused(site, one, one) is None
    named = "hello.identity != self._identity"
    with mutant(session_enclave, named, "False"):
        assert confused(site, one, other) is ErrorCode.SESSION_OPEN
    # The capability that is absent: keys that outlive a boot.
    honest = BootKeys.generate
    kept = honest(Sha384(bytes(48)))

    def keeping(digest: Sha384) -> BootKeys:
        return BootKeys.hold(kept.receipt_key, kept.hpke_keys, os.urandom(32), digest)

    monkeypatch.setattr(BootKeys, "generate", keeping)
    one, other = asking(site.boot()[1]), asking(site.boot()[1])
    assert confused(site, one, other) is ErrorCode.SESSION_IDENTITY
    with mutant(session_enclave, named, "False"):
        assert confused(site, one, other) is None


def test_h2_records_for_one_enclave_do_not_open_in_another(
    enclave: EnclaveProcess, site: Site, agent: TestAgent
) -> None:
    desk = site.boot()[1]
    elsewhere = agent_of_desk(site, desk).open()
    for mine, ask in ((agent, asking(desk)), (elsewhere, enclave.ask)):
        with pytest.raises(EnclaveRefusedError) as refused:
            ask(wire.Invoke(record=mine.seal("validate", b"request").record), wire.InvokeAnswer)
        assert refused.value.code is ErrorCode.SESSION_UNKNOWN
        assert refused.value.problem.receipt is not None


def spent_twice(agent: TestAgent) -> bool:
    """Pay 10,000 of the 25,000 of a boot, replay the record, and return whether another 10,000 are no longer there."""
    record = agent.seal("validate", agent.action(*payment(10_000)))
    for _ in range(3):
        with contextlib.suppress(EnclaveRefusedError):
            agent.ask(wire.Invoke(record=record.record), wire.InvokeAnswer)
    return "problem" in agent.invoke("validate", agent.action(*payment(10_000))).inner


KEPT_ANSWER = (
    "self._answers.once(record_digest(message.record), lambda: self._open_and_answer(session, message.record))",
    "self._open_and_answer(session, message.record)",
)
KEPT_EFFECT = ("if name in self._once:", "if False:")
SEEN_RECORD = (session_window, "behind >= REPLAY_WINDOW_RECORDS or (behind >= 0 and self._seen >> behind & 1)", "False")
SEEN_NONCE = (validate, "if place in self._nonces:", "if False:")
LINES = ("kept answer", "kept effect", "seen record", "seen nonce")


def test_f10_a_replayed_request_has_no_second_effect(enclave: EnclaveProcess, site: Site, agent: TestAgent) -> None:
    assert not spent_twice(agent)
    action = agent.action(*payment(1))
    first, again = (agent.invoke("validate", action) for _ in range(2))
    assert again.raw.receipt == first.raw.receipt
    assert (first.inner["repeats"], again.inner["repeats"]) == (None, first.request.sequence)


@pytest.mark.parametrize("left", [*LINES, None])
def test_f10_each_of_four_lines_stops_a_replay_alone(left: str | None, site: Site) -> None:
    """The record's answer is kept, so is the action's effect; a record's number and an action's nonce count once."""
    with contextlib.ExitStack() as stack:
        pair = [change for name, change in zip(LINES, (KEPT_ANSWER, KEPT_EFFECT), strict=False) if name != left]
        stack.enter_context(mutant(invocations, *pair[0], *pair[1:]))
        for name, removed in (("seen record", SEEN_RECORD), ("seen nonce", SEEN_NONCE)):
            if name != left:
                stack.enter_context(mutant(*removed))
        assert spent_twice(agent_of_desk(site, site.boot()[1]).open()) is (left is None)


class Silent(Relay):
    """Drop every connection to KMS."""

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise OSError("dropped")


def test_h10_a_release_that_the_parent_drops_is_told(stage: EnclaveStage) -> None:
    """Nothing can be done about it; but the enclave says so, and does not wait for ever."""
    assert play(stage, relay=Silent) in {"enclave-release", "weights-header"}
    with open_site(stage, relay=Silent) as site:
        phases, _ = site.boot()
        assert phases.phase is Phase.FAILED
        assert phases.failure in {ErrorCode.ENCLAVE_RELEASE, ErrorCode.WEIGHTS_HEADER}
        told = "except PcrgateError as error:\n            self._phases.fail(error.code)"
        with mutant(boot_module, told, "except PcrgateError as error:\n            str(error)"):
            phases, _ = site.boot()
            assert (phases.phase, phases.failure) == (Phase.RELEASING, None)


def test_h10_receipts_that_the_parent_withholds_leave_gaps(enclave: EnclaveProcess, agent: TestAgent) -> None:
    assert agent.identity is not None
    mine = []
    for _ in range(3):
        mine.append(agent.invoke("validate", agent.action(*payment(0))).receipt)
        with pytest.raises(EnclaveRefusedError):
            enclave.ask(wire.Invoke(record=os.urandom(100)), wire.InvokeAnswer)
    served(agent)
    receipts = receipts_of(enclave)
    verify_chain(receipts, agent.identity)
    checks = (
        ("observed.sequence > expected", "False"),
        ("observed.sequence < expected", "False"),
        ("observed.previous != (identity.digest if previous is None else previous.digest)", "False"),
    )
    for missing in range(len(receipts) - 1):
        shown = receipts[:missing] + receipts[missing + 1 :]
        with pytest.raises(ReceiptError) as refused:
            verify_chain(shown, agent.identity)
        assert refused.value.code is ErrorCode.RECEIPT_GAP
        with mutant(verification, *checks[0], *checks[1:]):
            verify_chain(shown, agent.identity)
    # An agent that is shown nothing but its own receipts sees that something lies between.
    numbers = [receipt.claims.observed.sequence for receipt in mine]
    assert {gap for gap in find_gaps(mine) if gap.start > numbers[0]} == {
        range(low + 1, high) for low, high in itertools.pairwise(numbers)
    }
    assert find_gaps(verified(agent, receipts)) == ()
    with mutant(verification, "number > last + 1", "False", ("elif last and", "elif False and")):
        assert find_gaps(mine) == ()
