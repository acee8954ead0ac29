"""Requests on many threads at once, as the server makes them: every change counts once, none is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.store import DirectoryStore
from tests.unit.twin.kms.kit import OTHER_REGION, Twin

THREADS = 8


def _together(tasks: list[Callable[[], object]]) -> list[AwsCode | None]:
    """Run all tasks on threads and return their refusals."""

    def run(task: Callable[[], object]) -> AwsCode | None:
        try:
            task()
        except AwsError as error:
            return error.code
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, tasks))


def test_one_of_many_makers_of_the_same_alias_wins() -> None:
    twin = Twin()
    keys = [twin.key() for _ in range(THREADS)]
    make = partial(twin.call, "CreateAlias", AliasName="alias/one")
    codes = _together([partial(make, TargetKeyId=arn) for arn in keys])
    assert sorted(codes, key=str) == [AwsCode.ALREADY_EXISTS] * (THREADS - 1) + [None]


def test_no_tag_grant_or_rotation_is_lost(tmp_path: Path) -> None:
    twin = Twin(store=DirectoryStore(tmp_path))
    arn = twin.key()
    grantee = "arn:aws:iam::111122223333:role/r"
    tasks: list[Callable[[], object]] = []
    for number in range(20):
        tag = [{"TagKey": f"t{number}", "TagValue": ""}]
        tasks += [
            partial(twin.call, "TagResource", KeyId=arn, Tags=tag),
            partial(twin.call, "CreateGrant", KeyId=arn, GranteePrincipal=grantee, Operations=["Decrypt"]),
            partial(twin.call, "RotateKeyOnDemand", KeyId=arn),
            partial(twin.call, "Encrypt", KeyId=arn, Plaintext=b"a"),
        ]
    assert _together(tasks) == [None] * len(tasks)
    twin.service.close()
    again = Twin(store=DirectoryStore(tmp_path))
    key = again.service.describe(arn)
    assert key is not None
    assert (len(key.tags), len(key.grants)) == (20, 20)
    assert len(again.call("ListKeyRotations", KeyId=arn)["Rotations"]) == 20
    again.service.close()


def test_a_region_gets_one_replica_and_a_due_key_goes_once() -> None:
    twin = Twin()
    arn, due = twin.key(MultiRegion=True), twin.key()
    codes = _together(
        [lambda: twin.call("ReplicateKey", KeyId=arn, ReplicaRegion=OTHER_REGION) for _ in range(THREADS)]
    )
    assert codes.count(None) == 1
    twin.call("EnableKeyRotation", KeyId=arn)
    twin.call("ScheduleKeyDeletion", KeyId=due, PendingWindowInDays=7)
    twin.pass_days(365)
    codes = _together([lambda: twin.call("DescribeKey", KeyId=due) for _ in range(THREADS)])
    assert codes == [AwsCode.NOT_FOUND] * THREADS
    assert len(twin.call("ListKeyRotations", KeyId=arn)["Rotations"]) == 1
