"""What the parent's process is put together from: files or a bucket, with a relay or without."""

import asyncio
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from pcrgate.errors import ErrorCode, UsageError
from service.addresses import UnixAddress
from service.artifact_files import FileArtifactStore
from service.artifact_s3 import S3ArtifactStore
from service.process import Places, _parent, artifacts_of, open_state
from service.settings import ServiceSettings
from service.shelf import Shelf
from tests.support.client_stage import listens
from tests.support.commands import wait_until
from tests.support.unix_service import places


def test_sealed_files_lie_in_the_bucket_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "eu-central-1")
    settings = ServiceSettings.model_validate({"data_directory": tmp_path, "bucket": "sealed-files"})
    assert isinstance(artifacts_of(settings), S3ArtifactStore)
    assert isinstance(artifacts_of(settings.model_copy(update={"bucket": None})), FileArtifactStore)


@pytest.mark.parametrize("relays", [True, False])
def test_the_enclave_is_served_beside_rest_until_the_end(tmp_path: Path, *, relays: bool) -> None:
    settings = ServiceSettings.model_validate({"data_directory": tmp_path / "data"})
    state, _ = open_state(settings)
    made = places(tmp_path, tmp_path / "enclave.sock")
    if not relays:
        made = Places(enclave=made.enclave, broker=made.broker, relay=None, upstream=None, credentials=made.credentials)
    broker, relay = tmp_path / "broker.sock", tmp_path / "relay.sock"
    assert made.broker == UnixAddress(path=broker)

    async def run() -> None:
        async with _parent(made, Shelf(tmp_path / "shelf", state, artifacts_of(settings))):
            for path in (broker, relay) if relays else (broker,):
                await asyncio.to_thread(wait_until, partial(listens, path))
            assert relay.exists() is relays
            await asyncio.sleep(0.05)  # who only knocked is let in, and gone again
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was closed is gone
        assert not listens(broker)
        assert not listens(relay)

    with closing(state):
        asyncio.run(run())


@pytest.mark.parametrize(("taken", "named"), [("broker", "its parent"), ("relay", "KMS")])
def test_an_address_of_the_enclave_that_is_taken_is_told_at_once(tmp_path: Path, taken: str, named: str) -> None:
    settings = ServiceSettings.model_validate({"data_directory": tmp_path / "data"})
    state, _ = open_state(settings)
    (tmp_path / f"{taken}.sock").touch()

    async def run() -> None:
        shelf = Shelf(tmp_path / "shelf", state, artifacts_of(settings))
        async with _parent(places(tmp_path, tmp_path / "enclave.sock"), shelf):
            pytest.fail("it began")

    with closing(state), pytest.raises(UsageError, match=f"the enclave's way to {named} cannot") as caught:
        asyncio.run(run())
    assert caught.value.code is ErrorCode.USAGE_PORT
    assert not listens(tmp_path / "broker.sock")
