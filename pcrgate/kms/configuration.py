"""Configure the attested client from measured data: the pinned keys say Region, account and endpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.units import KeyArn

CONNECT_TIMEOUT_S: Final = 5.0
"""How long dialling the relay and the TLS handshake may take by default."""

READ_TIMEOUT_S: Final = 10.0
"""How long KMS may take to answer by default; all attempts together stay far below a document's five minutes."""

ATTEMPTS: Final = 3
"""How often botocore sends one request at most by default, the first time included."""

MAX_ATTEMPTS: Final = 10
"""Most attempts that can be meant: ten times the longest default timeout is within a document's five minutes."""

_DNS_SUFFIXES: Final = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedKmsConfiguration:
    """Hold what decides which keys are used and whom the enclave speaks with; all of it measured.

    Attributes:
        pinned_keys: full ARNs of every key the client may name; one Region and account.
        expectations: releases expected for the client's whole life; more by ``expecting``.
        ca_bundle: PEM file with the CAs for KMS's certificate; None takes the bundle that botocore carries.
        allow_multi_region: whether ``mrk-`` keys may be pinned: their replicas have policies of their own.
        fips: whether to use the FIPS endpoint.
        connect_timeout_s: longest for dialling and TLS, seconds.
        read_timeout_s: longest wait for an answer, seconds.
        attempts: 1 to 10.
    """

    pinned_keys: frozenset[KeyArn]
    expectations: tuple[ReleaseExpectation, ...] = ()
    ca_bundle: Path | None = None
    allow_multi_region: bool = False
    fips: bool = False
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    attempts: int = ATTEMPTS

    def __post_init__(self) -> None:
        places = {(key.partition, key.region, key.account) for key in self.pinned_keys}
        if len(places) != 1:
            raise ReleaseError(ErrorCode.KMS_ENDPOINT, "the pinned keys must be of one partition, Region and account")
        if not self.allow_multi_region and any(key.is_multi_region for key in self.pinned_keys):
            raise ReleaseError(
                ErrorCode.KMS_ENDPOINT, "a multi-Region key is pinned, expected it to be allowed by name"
            )
        if any(expectation.key_arn not in self.pinned_keys for expectation in self.expectations):
            raise ReleaseError(ErrorCode.KMS_KEY_NOT_PINNED, "an expectation names a key that is not pinned")
        if not 0 < self.connect_timeout_s <= 60 or not 0 < self.read_timeout_s <= 60:
            raise ReleaseError(ErrorCode.KMS_ENDPOINT, "a timeout is above 0 and at most 60 seconds")
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ReleaseError(ErrorCode.KMS_ENDPOINT, f"the number of attempts is 1 to {MAX_ATTEMPTS}")

    @property
    def region(self) -> str:
        """The Region of the pinned keys."""
        return next(iter(self.pinned_keys)).region

    @property
    def account(self) -> str:
        """The account of the pinned keys: credentials of another account cannot use them."""
        return next(iter(self.pinned_keys)).account

    @property
    def endpoint_host(self) -> str:
        """The host that TLS must prove to be; derived, never configured."""
        partition = next(iter(self.pinned_keys)).partition
        service = "kms-fips" if self.fips else "kms"
        return f"{service}.{self.region}.{_DNS_SUFFIXES[partition]}"

    @property
    def endpoint_url(self) -> str:
        """``https://`` and the host."""
        return f"https://{self.endpoint_host}"
