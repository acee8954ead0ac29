"""Bound the headers of model files before any loader sees them: safetensors here, ONNX in ``model_files_onnx``.

Released weights are authentic, but authentic is not harmless: the file was made elsewhere, and loaders have faults.
What these checks let through has its tensors inside the file, no overlap, no code and no reference to other files.
Formats that can carry code (pickle, and so PyTorch's, joblib's and most of Keras's files) are refused.
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pcrgate.envelope.model_files_onnx import check_onnx
from pcrgate.errors import ErrorCode, ReleaseError

SAFETENSORS_HEADER_MAX_BYTES: Final = 16 << 20
"""Longest safetensors header: models with 100 000 tensors need about 12 MB; the format's own limit is 100 MB."""

SAFETENSORS_MAX_TENSORS: Final = 200_000
"""Most tensors of one file: above the largest models published, below what exhausts memory."""

RANK_MAX: Final = 16
"""Most dimensions of one tensor."""

NAME_MAX_CHARACTERS: Final = 1024
"""Longest tensor name."""

_DTYPE_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "C64": 64, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
_LENGTH_BYTES: Final = 8
_OFFSET_LIMIT: Final = 1 << 62
_PICKLE_STARTS: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF")


class ModelFormat(Enum):
    """Name the formats that are loaded."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """Hold where one tensor lies.

    Attributes:
        name: of the tensor.
        dtype: of its elements, as safetensors writes it.
        shape: its dimensions.
        begin: offset of its first byte in the data that follows the header.
        end: offset behind its last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutline:
    """Hold what the bounded look at a model file found.

    Attributes:
        format: which it is.
        header_bytes: length of what precedes the tensors' data (safetensors), 0 for ONNX.
        tensors: of a safetensors file, in the order of their data; empty for ONNX.
    """

    format: ModelFormat
    header_bytes: int
    tensors: tuple[TensorEntry, ...]


def check_model_file(data: memoryview, expected: ModelFormat) -> ModelOutline:
    """Return the outline of a model file that a loader may see.

    Args:
        data: the whole file, read-only is enough.
        expected: what the manifest says it is.

    Raises:
        ReleaseError: ``model-file`` for anything outside the bounds.

    Spec: safetensors format; ONNX IR, onnx.proto.
    """
    if any(bytes(data[: len(start)]) == start for start in _PICKLE_STARTS):
        raise _refused("the file is of a format that can carry code, expected safetensors or ONNX")
    if expected is ModelFormat.SAFETENSORS:
        return _check_safetensors(data)
    check_onnx(data)
    return ModelOutline(format=ModelFormat.ONNX, header_bytes=0, tensors=())


def _check_safetensors(data: memoryview) -> ModelOutline:
    # 1. The header's length, before anything is parsed.
    if len(data) < _LENGTH_BYTES:
        raise _refused("the file is shorter than the length of its header")
    header_bytes = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not 2 <= header_bytes <= min(SAFETENSORS_HEADER_MAX_BYTES, len(data) - _LENGTH_BYTES):
        raise _refused(
            f"a header of {header_bytes} bytes, expected at most {SAFETENSORS_HEADER_MAX_BYTES}, in the file"
        )
    # 2. One JSON object, without a name twice.
    header = _parse_json(bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + header_bytes]))
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or any(type(value) is not str for value in metadata.values()):
        raise _refused("the metadata is not a map of text")
    if not 1 <= len(header) <= SAFETENSORS_MAX_TENSORS:
        raise _refused(f"{len(header)} tensors, expected 1 to {SAFETENSORS_MAX_TENSORS}")
    # 3. Every tensor: known type, bounded shape, a length that follows from both.
    tensors = sorted(
        (_tensor(name, entry) for name, entry in header.items()), key=lambda tensor: (tensor.begin, tensor.end)
    )
    # 4. The data is covered without overlap, gap or rest.
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            raise _refused("tensors overlap or leave a gap, expected one after the other")
        position = tensor.end
    if position != len(data) - _LENGTH_BYTES - header_bytes:
        raise _refused("the tensors do not end where the file ends")
    return ModelOutline(
        format=ModelFormat.SAFETENSORS, header_bytes=_LENGTH_BYTES + header_bytes, tensors=tuple(tensors)
    )


def _parse_json(raw: bytes) -> dict[str, Any]:
    if not raw.startswith(b"{"):
        raise _refused("the header does not begin with an object")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise _refused("a name stands twice in the header")
        return dict(pairs)

    def whole(digits: str) -> int:
        if len(digits) > 19:
            raise _refused("a number in the header is too long")
        return int(digits)

    def no_fraction(text: str) -> float:
        raise _refused(f"a number in the header is not whole ({text[:8]})")

    try:
        header = json.loads(
            raw.decode(), object_pairs_hook=unique, parse_int=whole, parse_float=no_fraction, parse_constant=no_fraction
        )
    except (ValueError, RecursionError) as error:
        raise _refused("the header is not JSON") from error
    if type(header) is not dict:
        raise _refused("the header is not one object")
    return header


def _tensor(name: str, entry: object) -> TensorEntry:
    if not 0 < len(name) <= NAME_MAX_CHARACTERS:
        raise _refused(f"a tensor name of {len(name)} characters, expected 1 to {NAME_MAX_CHARACTERS}")
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refused("a tensor does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in _DTYPE_BITS:
        raise _refused("a tensor has an unknown dtype")
    if type(shape) is not list or len(shape) > RANK_MAX or any(not _is_size(size) for size in shape):
        raise _refused(f"a tensor's shape is not a list of at most {RANK_MAX} sizes")
    if type(offsets) is not list or len(offsets) != 2 or any(not _is_size(offset) for offset in offsets):
        raise _refused("a tensor's offsets are not two positions")
    elements = 1
    for size in shape:
        elements *= size
        if elements > _OFFSET_LIMIT:
            raise _refused("a tensor is larger than any file")
    begin, end = offsets
    if end - begin != elements * _DTYPE_BITS[dtype] // 8:
        raise _refused("a tensor's offsets do not fit its shape and dtype")
    return TensorEntry(name=name, dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _OFFSET_LIMIT


def _refused(fact: str) -> ReleaseError:
    return ReleaseError(ErrorCode.MODEL_FILE, fact)
