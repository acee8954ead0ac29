"""Scenes ask for their verdicts: where the world is another, the verdict is, and the story says so."""

import json
from collections.abc import Iterator

import pytest

from local import demo_policies, demo_release
from local.demo_seal import seal_scenes
from local.demo_stage import Stage, open_stage, pcr0_in
from local.parent_process import ParentPlan, RoleCredentials
from local.provision import role_client
from local.scene import Act, OtherVerdict, Scene, play
from local.story import Story
from pcrgate.errors import AppraisalError, ErrorCode
from pcrgate.twin.clients import root_credentials
from pcrgate.units import Sha384

pytestmark = pytest.mark.network

IMAGE = Sha384(b"\x11" * 48)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage(with_terraform=False) as found:
        assert [play(scene).as_announced for scene in seal_scenes(found)] == [True] * 3
        found.deployment.approve(IMAGE)
        yield found


def put(stage: Stage, policy: str) -> None:
    made = stage.deployment.provisioned
    role_client(stage.twin, made.administrator).put_key_policy(KeyId=str(made.weights_key), Policy=policy)


def test_what_is_refused_is_asked_for_and_not_told(stage: Stage) -> None:
    # The same scene under a policy with a hole: what was refused is released, and the scene says so.
    honest = stage.key_policy()
    scene = Scene(title="the parent", expected="", play=lambda: demo_release.release_to_the_parent(stage))
    assert play(scene).verdict == "AccessDeniedException"
    put(stage, demo_policies.weakened(honest, stage.deployment.provisioned.parent))
    try:
        outcome = play(scene)
        assert outcome.verdict == "accepted"
        assert outcome.fact == "the parent holds 32 bytes of plaintext"
        # KMS recorded a release, and to no measurement.
        assert stage.attested_pcr0() is None
        assert pcr0_in(stage.key_policy()) == {IMAGE.hex()}
    finally:
        put(stage, honest)


def test_a_measurement_that_kms_does_not_hold_is_not_approved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.deployment, "approve", lambda _pcr0: None)
    with pytest.raises(OtherVerdict) as found:
        demo_policies.approve(stage)
    assert found.value.verdict == "not-approved"


def test_a_policy_without_a_leak_of_decrypt_is_still_not_proven(stage: Stage) -> None:
    made, policy = stage.deployment.provisioned, json.loads(stage.key_policy())
    policy["Statement"].append(
        {"Effect": "Allow", "Principal": {"AWS": made.parent}, "Action": "kms:PutKeyPolicy", "Resource": "*"}
    )
    kept = [each for each in policy["Statement"] if each.get("Sid") != "DenyAdministrationByOthers"]
    with pytest.raises(OtherVerdict) as found:
        demo_policies.judge(json.dumps({**policy, "Statement": kept}), made.administrator, IMAGE)
    assert found.value.fact == "no counterexample of Decrypt"


def test_the_parents_credentials_are_renewed_before_they_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    key = root_credentials(stage.twin)
    plan = ParentPlan(
        twin_host="127.0.0.1",
        twin_port=int(stage.twin.https_url.rpartition(":")[2]),
        ca_file=str(stage.twin.ca_path),
        region=stage.twin.settings.region,
        role_arn=stage.deployment.provisioned.parent,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
    )
    assert key.secret_access_key not in repr(plan)
    credentials = RoleCredentials(plan)
    first = credentials.current()
    assert credentials.current() == first
    monkeypatch.setattr("local.parent_process.RENEW_S", 12 * 3600)
    assert credentials.current().access_key_id != first.access_key_id


def test_the_story_shows_every_verdict_and_what_was_announced(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> str:
        raise AppraisalError(ErrorCode.KIND_MISMATCH, "something\x1b[31m else")

    scenes = (
        Scene(title="one", expected="accepted", play=lambda: "fine"),
        Scene(title="two", expected="accepted", play=refuse),
    )
    act, story = Act(name="an act", about="of two scenes", scenes=iter(scenes)), Story()
    outcomes = tuple(play(scene) for scene in act.scenes)
    story.act(1, act)
    for outcome in outcomes:
        story.outcome(outcome)
    story.end([(act, outcomes)], took_s=1.0)
    out = capsys.readouterr().out
    assert "(1) an act: of two scenes" in out
    assert "  ok  one: accepted (" in out
    assert "  NO  two: kind-mismatch (" in out
    assert "NO: accepted" in out
    assert "\x1b" not in out
    assert out.splitlines()[-1] == "1 of 2 verdicts as announced, in 1 s"
