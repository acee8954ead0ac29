"""The configuration derives Region, account and endpoint from the pinned keys, and refuses what does not fit."""

import pytest

from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.configuration import MAX_ATTEMPTS, AttestedKmsConfiguration
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.units import KeyArn

UUID = "11111111-2222-4333-8444-555555555555"
MRK = "mrk-" + "0" * 32


def arn(partition: str = "aws", region: str = "eu-central-1", account: str = "123456789012", key: str = UUID) -> KeyArn:
    return KeyArn.parse(f"arn:{partition}:kms:{region}:{account}:key/{key}")


@pytest.mark.parametrize(
    ("key", "fips", "host"),
    [
        (arn(), False, "kms.eu-central-1.amazonaws.com"),
        (arn(), True, "kms-fips.eu-central-1.amazonaws.com"),
        (arn("aws-us-gov", "us-gov-west-1"), True, "kms-fips.us-gov-west-1.amazonaws.com"),
        (arn("aws-cn", "cn-north-1"), False, "kms.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_region_account_and_endpoint_follow_from_the_key(key: KeyArn, fips: bool, host: str) -> None:
    configuration = AttestedKmsConfiguration(pinned_keys=frozenset({key}), fips=fips)
    assert configuration.endpoint_host == host
    assert configuration.endpoint_url == f"https://{host}"
    assert configuration.region == key.region
    assert configuration.account == key.account


@pytest.mark.parametrize(
    "keys",
    [
        set(),
        {arn(), arn(region="us-east-1")},
        {arn(), arn(account="210987654321")},
        {arn(), arn("aws-us-gov", "us-gov-west-1")},
    ],
    ids=["none", "two Regions", "two accounts", "two partitions"],
)
def test_keys_of_one_place_are_pinned(keys: set[KeyArn]) -> None:
    with pytest.raises(ReleaseError) as caught:
        AttestedKmsConfiguration(pinned_keys=frozenset(keys))
    assert caught.value.code is ErrorCode.KMS_ENDPOINT


def test_multi_region_keys_are_pinned_on_purpose_only() -> None:
    with pytest.raises(ReleaseError) as caught:
        AttestedKmsConfiguration(pinned_keys=frozenset({arn(key=MRK)}))
    assert caught.value.code is ErrorCode.KMS_ENDPOINT
    assert AttestedKmsConfiguration(pinned_keys=frozenset({arn(key=MRK)}), allow_multi_region=True).region


def test_expectations_name_pinned_keys() -> None:
    other = ReleaseExpectation(
        operation="Decrypt", key_arn=arn(key=UUID.replace("1", "9")), encryption_context={"class": "weights"}
    )
    with pytest.raises(ReleaseError) as caught:
        AttestedKmsConfiguration(pinned_keys=frozenset({arn()}), expectations=(other,))
    assert caught.value.code is ErrorCode.KMS_KEY_NOT_PINNED


@pytest.mark.parametrize(
    "changes",
    [
        {"connect_timeout_s": 0.0},
        {"connect_timeout_s": 60.1},
        {"read_timeout_s": 0.0},
        {"read_timeout_s": 61.0},
        {"attempts": 0},
        {"attempts": MAX_ATTEMPTS + 1},
    ],
)
def test_timeouts_and_attempts_are_bounded(changes: dict[str, int]) -> None:
    with pytest.raises(ReleaseError) as caught:
        AttestedKmsConfiguration(pinned_keys=frozenset({arn()}), **changes)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.KMS_ENDPOINT


def test_timeouts_and_attempts_at_the_bounds_are_taken() -> None:
    AttestedKmsConfiguration(
        pinned_keys=frozenset({arn()}), connect_timeout_s=60.0, read_timeout_s=60.0, attempts=MAX_ATTEMPTS
    )
