"""The whole way with real processes: seal, boot, release over TLS through the relay, appraise, session, work, receipts."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from enclave.handshakes import GOODBYE
from enclave.invocations import REPORT_LABEL
from local.measurement import copy_checkout, measure, measured_files
from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.cbor import decode
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.envelope.session import Role
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_signature import verify_es384
from pcrgate.errors import ErrorCode, PcrgateError, SessionError
from pcrgate.manifest.verification import expected_pcr16, manifest_digest
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.verification import match_receipt, verify_chain, verify_receipt
from pcrgate.wire import messages as wire
from service.enclave_link import EnclaveRefusedError
from tests.support.enclave_agent import TestAgent, floats, payment, query, vector
from tests.support.enclave_stage import (
    OTHER_AGENT,
    WEIGHTS,
    EnclaveProcess,
    Site,
    now_ms,
    open_site,
    running,
)

pytestmark = pytest.mark.network


def agent_of(process: EnclaveProcess, **options: Any) -> TestAgent:
    stage = process.site.stage
    return TestAgent(process.ask, roots=Roots.pinned(stage.twin.pki.root_fingerprint), pcr0=stage.measured(), **options)


@pytest.fixture
def agent(enclave: EnclaveProcess) -> TestAgent:
    return agent_of(enclave).open()


def refusal(call: Any, *args: Any) -> EnclaveRefusedError:
    with pytest.raises(EnclaveRefusedError) as caught:
        call(*args)
    return caught.value


def test_evidence_is_made_for_each_nonce_and_shows_the_live_manifest(enclave: EnclaveProcess, site: Site) -> None:
    nonces = [os.urandom(16), os.urandom(64)]
    answers = [enclave.ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer) for nonce in nonces]
    roots = Roots.pinned(site.stage.twin.pki.root_fingerprint)
    seen = [verify(answer.document, roots, Recorded()) for answer in answers]
    assert [evidence.nonce for evidence in seen] == nonces
    assert answers[0].document != answers[1].document
    assert answers[0].identity == answers[1].identity
    for evidence in seen:
        assert evidence.pcrs[16] == expected_pcr16(manifest_digest(site.signed))
        assert evidence.pcrs[0] == site.stage.measured()
        assert evidence.user_data == hashlib.sha384(answers[0].identity).digest()
        assert evidence.public_key is not None
        assert len(evidence.public_key) == 120


def test_an_action_is_admitted_reported_and_receipted(agent: TestAgent) -> None:
    answer = agent.invoke("validate", agent.action(*query()))
    assert agent.identity is not None
    report, signature = answer.inner["result"], answer.inner["report_signature"]
    verify_es384(
        agent.identity.receipt_key,
        signature,
        pack(REPORT_LABEL, report),
        SessionError(ErrorCode.SESSION_RESPONSE, "the report is not signed"),
    )
    said: Any = decode(report)
    assert said["decision"] == "admitted"
    assert said["tool"] == "database.query"
    session = agent.session
    sent = answer.request.sequence
    decision = match_receipt(
        answer.receipt,
        request_digest=answer.receipt.claims.observed.request_digest,
        result_digest=session.content_digest(Role.ENCLAVE, sent, report),
        session_id=session.session_id,
        agent_id="one",
    )
    assert decision is Decision.ACCEPTED
    assert answer.receipt.claims.observed.workload == "validate"
    assert answer.receipt.claims.observed.policy_hash is not None


def test_an_action_that_no_rule_admits_is_refused_with_a_receipt(agent: TestAgent) -> None:
    answer = agent.invoke("validate", agent.action(*payment(10_001)))
    assert answer.inner["problem"]["code"] == "workload-argument"
    assert answer.receipt.claims.observed.decision is Decision.REFUSED
    assert answer.receipt.claims.observed.code == "workload-argument"


def test_the_model_that_was_released_runs(agent: TestAgent) -> None:
    answer = agent.invoke("infer", vector(1, 1, 1, 1))
    result: Any = decode(answer.inner["result"])
    assert floats(result["outputs"]["y"]) == tuple(1 + weight for weight in WEIGHTS)
    assert answer.receipt.claims.attested.secret_epochs == {"adder": 3}


def test_f10_the_same_record_and_the_same_action_have_one_effect_and_one_receipt(agent: TestAgent) -> None:
    action = agent.action(*payment(5))
    record = agent.seal("validate", action)
    first = agent.ask(wire.Invoke(record=record.record), wire.InvokeAnswer)
    assert agent.ask(wire.Invoke(record=record.record), wire.InvokeAnswer) == first
    again = agent.invoke("validate", action)
    assert again.raw.receipt == first.receipt
    assert again.inner["repeats"] == record.sequence


def test_one_agent_cannot_use_what_another_was_granted(enclave: EnclaveProcess) -> None:
    agent = agent_of(enclave, name="two", key=OTHER_AGENT).open()
    assert agent.invoke("infer", vector(1, 1, 1, 1)).inner["problem"]["code"] == "manifest-no-grant"
    assert agent.invoke("validate", agent.action(*payment())).inner["problem"]["code"] == "manifest-no-grant"
    foreign = agent_of(enclave).open().action(*query())
    assert agent.invoke("validate", foreign).inner["problem"]["code"] == "workload-signature"
    assert "result" in agent.invoke("validate", agent.action(*query())).inner


def test_receipts_of_the_boot_form_one_chain(enclave: EnclaveProcess, agent: TestAgent) -> None:
    agent.invoke("validate", agent.action(*query()))
    assert agent.identity is not None
    receipts: list[bytes] = []
    while True:
        more = enclave.ask(wire.ReceiptsRequest(first=len(receipts) + 1), wire.ReceiptsAnswer).receipts
        if not more:
            break
        receipts += more
    verified = [verify_receipt(receipt, agent.identity) for receipt in receipts]
    verify_chain(receipts, agent.identity)
    first = verified[0].claims
    assert (first.observed.workload, dict(first.attested.secret_epochs)) == ("infer", {"adder": 3})
    with pytest.raises(PcrgateError):
        verify_chain([*receipts[:1], *receipts[2:]], agent.identity)


def test_a_session_that_was_ended_is_over(enclave: EnclaveProcess) -> None:
    agent = agent_of(enclave).open()
    record = agent.session.seal(b"not a goodbye", now_ms=now_ms())
    assert refusal(enclave.ask, wire.SessionEnd(record=record.record), wire.SessionEndAnswer).code is (
        ErrorCode.SESSION_MESSAGE
    )
    assert agent.goodbye()
    record = agent.session.seal(GOODBYE, now_ms=now_ms())
    refused = refusal(enclave.ask, wire.SessionEnd(record=record.record), wire.SessionEndAnswer)
    assert refused.code is ErrorCode.SESSION_UNKNOWN
    assert refused.problem.receipt is not None


def test_a_session_goes_on_in_another_enclave_of_the_same_image(site: Site, agent: TestAgent) -> None:
    assert agent.established is not None
    with open_site(site.stage, signed=site.signed) as second_site, running(second_site) as second:
        second.wait("live")
        other = agent_of(second)
        nonce = os.urandom(32)
        other.identity = other.appraised(nonce, second.ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer))
        handshake = other.handshake(nonce, resumes=agent.established.session_id)
        message = wire.SessionResume(hello=handshake.hello, ticket=agent.established.ticket)
        other.established = handshake.finish(second.ask(message, wire.SessionResumeAnswer).response)
        assert other.established.session_id == agent.established.session_id
        second.ask(wire.SessionConfirm(ticket=other.established.ticket), wire.SessionConfirmAnswer)
        assert "result" in other.invoke("validate", other.action(*query())).inner
        # A record of the first boot does not open on the second.
        stale = agent.seal("validate", agent.action(*query()))
        assert refusal(second.ask, wire.Invoke(record=stale.record), wire.InvokeAnswer).code is ErrorCode.SESSION_OPEN
        # Draining: no new session, the open one goes on.
        second.ask(wire.Drain(), wire.DrainAnswer)
        assert second.status().phase == "draining"
        refused = refusal(second.ask, wire.SessionOpen(hello=b"hello"), wire.SessionOpenAnswer)
        assert refused.code is ErrorCode.ENCLAVE_PHASE
        assert "result" in other.invoke("validate", other.action(*query())).inner


def test_one_changed_byte_changes_pcr0_and_nothing_is_released(site: Site, enclave: EnclaveProcess) -> None:
    configuration = site.stage.write_configuration("other.json", session_lifetime_s=3599)
    assert site.stage.measured(configuration) != site.stage.measured()
    with open_site(site.stage) as other_site, running(other_site, configuration=configuration) as process:
        assert process.wait("live").failure == "enclave-release"
    asked = [record for record in site.stage.twin.audit.records() if record["eventName"] == "Decrypt"]
    assert asked[-1]["errorCode"] == "AccessDenied"
    assert "result" in agent_of(enclave).open().invoke("infer", vector(1, 1, 1, 1)).inner


def test_pcr0_covers_every_file_of_the_enclave(site: Site, tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    configuration = site.stage.configuration
    before = measure(configuration, None, root=tmp_path)
    assert before == measure(configuration, None)
    for path in list(measured_files(tmp_path))[:: len(list(measured_files(tmp_path))) // 12]:
        original = path.read_bytes()
        path.write_bytes(original + b"#")
        assert measure(configuration, None, root=tmp_path) != before
        path.write_bytes(original)
    (tmp_path / "enclave" / "added.py").write_text("")
    assert measure(configuration, None, root=tmp_path) != before
