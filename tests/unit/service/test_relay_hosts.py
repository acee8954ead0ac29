"""The relay takes endpoints of KMS and nothing that looks like one."""

import pytest

from pcrgate.errors import ErrorCode, UsageError
from service.relay import Upstream


@pytest.mark.parametrize(
    "host",
    ["kms.eu-central-1.amazonaws.com", "kms-fips.us-gov-west-1.amazonaws.com", "kms.cn-north-1.amazonaws.com.cn"],
)
def test_endpoints_of_kms_are_taken(host: str) -> None:
    assert Upstream.kms(host) == Upstream(host=host, port=443)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "kms.eu-central-1.amazonaws.com.evil.example",
        "kms.eu-central-1.amazonaws.com\n",
        "evil.example/kms.eu-central-1.amazonaws.com",
        "kms.eu-central-\u0661.amazonaws.com",  # a digit of another script
        "s3.eu-central-1.amazonaws.com",
        "kmsXeu-central-1.amazonaws.com",
        "KMS.eu-central-1.amazonaws.com",
    ],
)
def test_other_hosts_are_not(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        Upstream.kms(host)
    assert caught.value.code is ErrorCode.USAGE_RELAY_HOST
