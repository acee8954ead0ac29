"""Run the parent on a laptop as a process: production's composition, on Unix sockets, with the twin's credentials."""

import asyncio
import json
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

import boto3
from botocore.config import Config

from pcrgate.wire.messages import CredentialsAnswer
from service.addresses import UnixAddress
from service.process import Places, serve
from service.relay import Upstream
from service.settings import ServiceSettings

RENEW_S: Final = 300
"""How long before their end credentials are renewed."""

FILE: Final = "parent.json"
"""Where a parent's folder says what it is; for its owner only, since it holds a key of the twin's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentPlan:
    """Say what a parent on a laptop is made of.

    Attributes:
        twin_host: where the twin listens.
        twin_port: its HTTPS port.
        ca_file: PEM of the twin's CA.
        region: the Region of its keys.
        role_arn: the parent's role.
        access_key_id: of whoever may assume the role.
        secret_access_key: of the same.
    """

    twin_host: str
    twin_port: int
    ca_file: str
    region: str
    role_arn: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def write(self, folder: Path) -> None:
        """Write it to a folder of a parent, made if it is not there."""
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / FILE
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the plan in a folder."""
        return cls(**json.loads((folder / FILE).read_text()))


class RoleCredentials:
    """Give the parent role's credentials as the instance's metadata does: renewed before they end."""

    def __init__(self, plan: ParentPlan) -> None:
        """Take whose role; nothing is asked yet."""
        self._plan: Final = plan
        self._lock: Final = threading.Lock()
        self._sts: Final = boto3.Session(
            aws_access_key_id=plan.access_key_id,
            aws_secret_access_key=plan.secret_access_key,
            region_name=plan.region,
        ).client(
            "sts",
            endpoint_url=f"https://{plan.twin_host}:{plan.twin_port}",
            verify=plan.ca_file,
            config=Config(connect_timeout=5, read_timeout=20),
        )
        self._answer: CredentialsAnswer | None = None

    def current(self) -> CredentialsAnswer:
        """Return credentials that are valid for some minutes."""
        with self._lock:
            now_s = time.time()
            if self._answer is None or self._answer.expires_at_s - now_s < RENEW_S:
                found = self._sts.assume_role(RoleArn=self._plan.role_arn, RoleSessionName="parent")["Credentials"]
                self._answer = CredentialsAnswer(
                    access_key_id=found["AccessKeyId"],
                    secret_access_key=found["SecretAccessKey"],
                    session_token=found["SessionToken"],
                    expires_at_s=int(found["Expiration"].timestamp()),
                )
            return self._answer


def settings_of(folder: Path) -> ServiceSettings:
    """Return the service's settings for a parent's folder."""
    return ServiceSettings.model_validate({"data_directory": folder / "data"})


def run(folder: Path, enclave: Path, descriptor: int) -> None:
    """Serve until told to end.

    Args:
        folder: with the plan; sockets and data lie there.
        enclave: the socket on which the enclave listens.
        descriptor: of the bound socket to serve on.
    """
    plan = ParentPlan.read(folder)
    places = Places(
        enclave=UnixAddress(path=enclave),
        broker=UnixAddress(path=folder / "broker.sock"),
        relay=UnixAddress(path=folder / "relay.sock"),
        upstream=Upstream(host=plan.twin_host, port=plan.twin_port),
        credentials=RoleCredentials(plan),
    )
    listening = socket.socket(fileno=descriptor)
    asyncio.run(serve(settings_of(folder), places, listening=(listening,)))
