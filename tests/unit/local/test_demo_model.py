"""The demonstration's model is asked as its own package asks it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local.demo_model import FileTypeModel
from pcrgate.errors import ErrorCode, UsageError
from tests.architecture.sources import ROOT


@pytest.fixture(scope="module")
def model() -> FileTypeModel:
    return FileTypeModel.find()


@pytest.fixture(scope="module")
def features() -> Callable[[bytes], list[int]]:
    """What magika itself makes of a file."""
    from magika.magika import Magika
    from magika.types.seekable import Seekable

    ours = FileTypeModel.find()

    def made(content: bytes) -> list[int]:
        extract: Any = Magika._extract_features_from_seekable
        found = extract(
            Seekable(io.BytesIO(content)), ours.begin_bytes, 0, ours.end_bytes, ours.padding, ours.block_bytes, False
        )
        return [*found.beg, *found.end]

    return made


@pytest.mark.parametrize("length", [1, 8, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 10_000])
def test_a_file_becomes_the_input_that_magika_makes_of_it(
    model: FileTypeModel, features: Callable[[bytes], list[int]], length: int
) -> None:
    for content in (os.urandom(length), b" \n" + os.urandom(length) + b"\t ", b" " * length):
        tensor = model.tensor(content)
        assert np.frombuffer(tensor.data, "<i4").tolist() == features(content)
        assert tensor.shape == (1, model.begin_bytes + model.end_bytes)


def test_what_it_says_of_a_file(model: FileTypeModel) -> None:
    from pcrgate.client.work import Tensor

    raw = model.run_outside(model.tensor((ROOT / "README.md").read_bytes()))
    label, score = model.label(Tensor(type="float32", shape=(1, len(model.labels)), data=raw))
    assert label == "markdown"
    assert 0.5 < score <= 1


def test_the_runtime_reports_nothing(tmp_path: Path) -> None:
    # In a process of its own: what is switched off is switched off before the library is loaded.
    code = "from enclave.workloads.infer import runtime; runtime()"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=100)
    assert list(tmp_path.iterdir()) == []


def test_another_release_of_the_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.demo_model._USED", {"mid_size": 512})
    with pytest.raises(UsageError) as caught:
        FileTypeModel.find()
    assert caught.value.code is ErrorCode.LOCAL_MODEL
