"""The broker beside a slow store: one enclave's file keeps no other request waiting."""

import asyncio
import threading
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import Sha384
from pcrgate.wire.messages import (
    BlobAnswer,
    BlobRequest,
    CredentialsAnswer,
    CredentialsRequest,
    ManifestAnswer,
    ManifestRequest,
    StatusRequest,
)
from service.addresses import UnixAddress
from service.broker import Broker
from service.credentials import FixedCredentials
from service.enclave_link import EnclaveLink, EnclaveRefusedError
from tests.support.client_stage import listens
from tests.support.commands import wait_until

CREDENTIALS = CredentialsAnswer(access_key_id="A", secret_access_key="s", session_token=None, expires_at_s=1)
DIGEST = Sha384(bytes(range(48)))


class SlowStore:
    """Find a file once it is let go, as one that is copied out of a bucket."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.asked, self.ready = threading.Event(), threading.Event()

    def find(self, digest: Sha384) -> Path:
        self.asked.set()
        assert self.ready.wait(60)
        if digest != DIGEST:
            raise UsageError(ErrorCode.USAGE_BLOB, "no such file")
        return self.file


def test_a_file_that_is_on_its_way_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "sealed").write_bytes(b"sealed")
    (tmp_path / "manifest").write_bytes(b"signed")
    store = SlowStore(tmp_path / "sealed")
    address = UnixAddress(path=tmp_path / "broker.sock")
    broker = Broker(
        address, manifest=tmp_path / "manifest", blobs=store, credentials=FixedCredentials(answer=CREDENTIALS)
    )

    async def run() -> None:
        serving = asyncio.create_task(broker.serve())
        await asyncio.to_thread(wait_until, lambda: listens(address.path))
        link, of_blob = EnclaveLink(address, timeout_s=60), EnclaveLink(address, timeout_s=60)
        blob = asyncio.create_task(of_blob.ask(BlobRequest(sha384=DIGEST.digest, offset=2), BlobAnswer))
        await asyncio.to_thread(store.asked.wait, 60)
        # the loop is free: other requests are answered while the store still looks
        assert (await link.ask(ManifestRequest(), ManifestAnswer)).manifest == b"signed"
        assert await link.ask(CredentialsRequest(), CredentialsAnswer) == CREDENTIALS
        assert not blob.done()
        store.ready.set()
        assert (await blob).follows_bytes == 4
        await of_blob.close()
        for request, code in (
            (BlobRequest(sha384=bytes(48), offset=0), ErrorCode.USAGE_BLOB),
            (StatusRequest(), ErrorCode.WIRE_MESSAGE),
        ):
            one = EnclaveLink(address, timeout_s=60)  # a refusal ends its connection
            with pytest.raises(EnclaveRefusedError) as caught:
                await one.ask(request, BlobAnswer)
            assert caught.value.code is code
            await one.close()
        await link.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in (serving, *others):
            other.cancel()
        await asyncio.gather(serving, *others, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was closed is gone

    asyncio.run(run())
