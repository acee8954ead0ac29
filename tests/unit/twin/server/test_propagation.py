import dataclasses

from pcrgate.twin.kms.interface import GrantDescription, KeyDescription
from pcrgate.twin.propagation import Propagation
from pcrgate.twin.settings import MAX_PROPAGATION_DELAY_S

KEY = KeyDescription(
    arn="arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-4333-8444-555555555555",
    key_id="11111111-2222-4333-8444-555555555555",
    account="111122223333",
    region="eu-central-1",
    policy="first",
    key_spec="SYMMETRIC_DEFAULT",
    key_usage="ENCRYPT_DECRYPT",
    origin="AWS_KMS",
    multi_region=False,
    state="Enabled",
    aliases=(),
    tags={},
    grants=(),
)
GRANT = GrantDescription(
    grant_id="a" * 64,
    grantee="arn:aws:iam::111122223333:role/parent",
    retiring=None,
    operations=("Decrypt",),
    context_equals=None,
    context_subset=None,
    source_arn=None,
    created_ms=0,
    token="token",
)


class Stage:
    def __init__(self, delay_s: float) -> None:
        self.now_ms = 1_000_000
        self.delay_s = delay_s
        self.propagation = Propagation(clock_ms=lambda: self.now_ms, delay_s=lambda: self.delay_s)


def changed(**changes: object) -> KeyDescription:
    return dataclasses.replace(KEY, **changes)  # type: ignore[arg-type]


def test_without_delay_the_key_is_as_it_is() -> None:
    stage = Stage(0)
    second = changed(policy="second")
    assert stage.propagation.effective(KEY) is KEY
    assert stage.propagation.effective(second) is second


def test_the_first_look_is_in_force_at_once() -> None:
    assert Stage(60).propagation.effective(KEY) == KEY


def test_the_old_policy_holds_until_the_delay_has_passed() -> None:
    stage = Stage(60)
    second = changed(policy="second", state="Disabled")
    stage.propagation.observe(KEY)
    stage.propagation.observe(second)
    stage.now_ms += 59_999
    assert stage.propagation.effective(second) == changed(policy="first", state="Disabled")
    stage.now_ms += 1
    assert stage.propagation.effective(second) == second


def test_two_changes_arrive_one_after_the_other() -> None:
    stage = Stage(60)
    stage.propagation.observe(KEY)
    stage.propagation.observe(changed(policy="second"))
    stage.now_ms += 30_000
    third = changed(policy="third")
    stage.propagation.observe(third)
    seen = []
    for _ in range(4):
        seen.append(stage.propagation.effective(third).policy)
        stage.now_ms += 30_000
    assert seen == ["first", "second", "third", "third"]


def test_a_grant_arrives_late_unless_its_token_is_shown() -> None:
    stage = Stage(60)
    stage.propagation.observe(KEY)
    granted = changed(grants=(GRANT,))
    assert stage.propagation.effective(granted).grants == ()
    assert stage.propagation.effective(granted, ["another"]).grants == ()
    assert stage.propagation.effective(granted, ["token"]).grants == (GRANT,)
    stage.now_ms += 60_000
    assert stage.propagation.effective(granted).grants == (GRANT,)
    assert stage.propagation.effective(granted, ["token"]).grants == (GRANT,)


def test_a_revoked_grant_holds_until_the_delay_has_passed() -> None:
    stage = Stage(60)
    stage.propagation.observe(changed(grants=(GRANT,)))
    stage.propagation.observe(KEY)
    assert stage.propagation.effective(KEY).grants == (GRANT,)
    stage.now_ms += 60_000
    assert stage.propagation.effective(KEY).grants == ()


def test_a_delay_set_later_counts_from_the_change() -> None:
    stage = Stage(0)
    second = changed(policy="second")
    stage.propagation.effective(KEY)
    stage.propagation.effective(second)
    stage.now_ms += 50_000
    stage.delay_s = 60
    assert stage.propagation.effective(second).policy == "first"
    stage.now_ms += 10_000
    assert stage.propagation.effective(second).policy == "second"


def test_what_has_arrived_at_any_delay_is_forgotten() -> None:
    stage = Stage(MAX_PROPAGATION_DELAY_S)
    for number in range(50):
        stage.propagation.observe(changed(policy=str(number)))
        stage.now_ms += MAX_PROPAGATION_DELAY_S * 1000
    assert stage.propagation.effective(changed(policy="49")).policy == "49"
    assert len(stage.propagation._versions[KEY.arn]) <= 3
