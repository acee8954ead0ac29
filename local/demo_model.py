"""The demonstration's model: magika's, which tells what kind of file something is, out of its own wheel.

The wheel is pinned by hash in ``locks/dev.txt``. Nothing of its code runs here: only the model, its configuration and
the way a file becomes the model's input are taken over.
"""

import json
import struct
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from enclave.workloads.infer import runtime
from pcrgate.client.work import Tensor
from pcrgate.errors import ErrorCode, UsageError

PACKAGE: Final = "magika"
INPUT: Final = "bytes"
"""Name of the model's only input."""

_MODEL: Final = "model.onnx"
_CONFIGURATION: Final = "config.min.json"
_USED: Final = {"mid_size": 0, "use_inputs_at_offsets": False}
"""What must be said in the configuration for the input to be made as below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTypeModel:
    """Hold the model, and how to ask it.

    Attributes:
        plaintext: the ONNX file.
        name: of the release it came in.
        labels: of its outputs, in their order.
        other_names: labels that are told as another.
        begin_bytes: how many bytes of a file's beginning it looks at.
        end_bytes: how many of its end.
        block_bytes: within how many, before white space is taken off.
        padding: the number that stands where a file has no byte.
    """

    plaintext: bytes = field(repr=False)
    name: str
    labels: tuple[str, ...]
    other_names: dict[str, str]
    begin_bytes: int
    end_bytes: int
    block_bytes: int
    padding: int

    @classmethod
    def find(cls) -> Self:
        """Return the model of the installed package.

        Raises:
            UsageError: ``local-model`` when there is none, or one that is asked in another way.
        """
        spec = find_spec(PACKAGE)
        places = [] if spec is None else spec.submodule_search_locations or []
        found = sorted(path for place in places for path in Path(place).glob(f"models/*/{_MODEL}"))
        if not found:
            raise UsageError(
                ErrorCode.LOCAL_MODEL, f"the package {PACKAGE} is not installed, expected it from locks/dev.txt"
            )
        said = json.loads(found[-1].with_name(_CONFIGURATION).read_text())
        if any(said.get(name) != value for name, value in _USED.items()):
            raise UsageError(
                ErrorCode.LOCAL_MODEL, f"the model of {PACKAGE} takes another input, expected that of locks/dev.txt"
            )
        return cls(
            plaintext=found[-1].read_bytes(),
            name=found[-1].parent.name,
            labels=tuple(said["target_labels_space"]),
            other_names=dict(said["overwrite_map"]),
            begin_bytes=said["beg_size"],
            end_bytes=said["end_size"],
            block_bytes=said["block_size"],
            padding=said["padding_token"],
        )

    def tensor(self, content: bytes) -> Tensor:
        """Return the input that a file's content makes: numbers of bytes at its beginning, and at its end."""
        begin = list(content[: self.block_bytes].lstrip()[: self.begin_bytes])
        end = list(content[-self.block_bytes :].rstrip()[-self.end_bytes :])
        begin += [self.padding] * (self.begin_bytes - len(begin))
        numbers = begin + [self.padding] * (self.end_bytes - len(end)) + end
        return Tensor(type="int32", shape=(1, len(numbers)), data=struct.pack(f"<{len(numbers)}i", *numbers))

    def label(self, output: Tensor) -> tuple[str, float]:
        """Return the likeliest label, and how likely it is, from 0 to 1."""
        scores = struct.unpack(f"<{len(output.data) // 4}f", output.data)
        best = max(range(len(scores)), key=scores.__getitem__)
        return self.other_names.get(self.labels[best], self.labels[best]), scores[best]

    def run_outside(self, tensor: Tensor) -> bytes:
        """Return the output's bytes when the model runs in this process, in clear: what an enclave must give too."""
        import numpy as np  # noqa: PLC0415 - heavy, and needed once

        onnxruntime = runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(self.plaintext, options, providers=["CPUExecutionProvider"])
        array = np.frombuffer(tensor.data, dtype="<i4").reshape(tensor.shape)
        found: bytes = session.run(None, {INPUT: array})[0].tobytes()
        return found
