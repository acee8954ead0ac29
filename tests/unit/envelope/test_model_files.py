"""Model files: what real writers write is taken, the malformed corpus is refused before any loader sees it."""

import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcrgate.envelope.model_files import (
    NAME_MAX_CHARACTERS,
    RANK_MAX,
    SAFETENSORS_HEADER_MAX_BYTES,
    ModelFormat,
    check_model_file,
)
from pcrgate.envelope.model_files_onnx import ONNX_BESIDE_GRAPH_MAX_BYTES, ONNX_DEPTH_MAX, check_onnx
from pcrgate.errors import ErrorCode, ReleaseError


def refused(data: bytes, expected: ModelFormat) -> str:
    with pytest.raises(ReleaseError) as caught:
        check_model_file(memoryview(data), expected)
    assert caught.value.code is ErrorCode.MODEL_FILE
    return caught.value.message


def safetensors(header: Any, data: bytes = bytes(24)) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def entry(begin: int = 0, end: int = 24, dtype: str = "F32", shape: Any = (2, 3)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


def test_a_file_of_two_tensors_is_outlined_in_the_order_of_its_data() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": entry(16, 24, "I64", (1,)),
        "a": entry(0, 16, "F16", (2, 4)),
        "empty": entry(24, 24, "U8", (0, 7)),
    }
    outline = check_model_file(memoryview(safetensors(header)), ModelFormat.SAFETENSORS)
    assert [tensor.name for tensor in outline.tensors] == ["a", "b", "empty"]
    assert outline.tensors[0].shape == (2, 4)
    assert outline.header_bytes == len(safetensors(header)) - 24


@pytest.mark.parametrize("padding", [b"", b"   "])
def test_a_scalar_and_padding_are_fine(padding: bytes) -> None:
    raw = json.dumps({"x": entry(0, 8, "F64", ())}).encode() + padding
    assert check_model_file(memoryview(safetensors(raw, bytes(8))), ModelFormat.SAFETENSORS).tensors[0].shape == ()


ONE = {"x": entry()}
SAFETENSORS_DEFECTS: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": bytes(7),
    "header of 0": bytes(8) + b"{}",
    "header of 1": (1).to_bytes(8, "little") + b"{",
    "header beyond the file": (100).to_bytes(8, "little") + b"{}",
    "header of 2^63": (1 << 63).to_bytes(8, "little") + b"{}",
    "header beyond the limit": (SAFETENSORS_HEADER_MAX_BYTES + 1).to_bytes(8, "little") + b"{" * 20,
    "no tensors": safetensors({}, b""),
    "only metadata": safetensors({"__metadata__": {}}, b""),
    "a list": safetensors([]),
    "space before": safetensors(b" " + json.dumps(ONE).encode()),
    "two objects": safetensors(b"{}{}"),
    "utf-16": safetensors(json.dumps(ONE).encode("utf-16-le")),
    "not utf-8": safetensors(b'{"\xff": 1}'),
    "deep": safetensors(b'{"a":' * 50_000),
    "name twice": safetensors(b'{"x": %b, "x": %b}' % ((json.dumps(entry()).encode(),) * 2)),
    "key twice inside": safetensors(b'{"x": {"dtype":"U8","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'),
    "metadata not text": safetensors(ONE | {"__metadata__": {"a": 1}}),
    "metadata a list": safetensors(ONE | {"__metadata__": []}),
    "entry a list": safetensors({"x": []}),
    "entry misses shape": safetensors({"x": {"dtype": "F32", "data_offsets": [0, 24]}}),
    "entry has more": safetensors({"x": entry() | {"code": "import os"}}),
    "unknown dtype": safetensors({"x": entry(dtype="OBJECT")}),
    "dtype a number": safetensors({"x": entry() | {"dtype": 7}}),
    "shape text": safetensors({"x": entry(shape="2x3")}),
    "shape negative": safetensors({"x": entry(shape=(-2, -3))}),
    "shape boolean": safetensors({"x": entry(0, 4, shape=(True,))}, bytes(4)),
    "shape overflows": safetensors({"x": entry(shape=(1 << 32, 1 << 32))}),
    "shape overflows to zero": safetensors({"x": entry(0, 0, shape=(1 << 61, 8, 0))}, b""),
    "too many dimensions": safetensors({"x": entry(0, 4, shape=(1,) * (RANK_MAX + 1))}, bytes(4)),
    "offsets of one": safetensors({"x": entry() | {"data_offsets": [24]}}),
    "offsets reversed": safetensors({"x": entry(24, 0)}),
    "offsets negative": safetensors({"x": entry(-24, 0)}),
    "offsets fractional": safetensors(json.dumps({"x": entry()}).replace("24", "24.0").encode()),
    "offsets infinite": safetensors(json.dumps({"x": entry()}).replace("24", "Infinity").encode()),
    "offsets endless": safetensors(json.dumps({"x": entry()}).replace("24", "9" * 5000).encode()),
    "offsets beyond the file": safetensors({"x": entry(0, 48, shape=(4, 3))}),
    "length does not fit": safetensors({"x": entry(0, 23)}, bytes(23)),
    "overlap": safetensors({"x": entry(), "y": entry(8, 32)}, bytes(32)),
    "the same bytes twice": safetensors({"x": entry(), "y": entry()}),
    "gap": safetensors({"x": entry(), "y": entry(32, 56)}, bytes(56)),
    "gap at the start": safetensors({"x": entry(8, 32)}, bytes(32)),
    "rest at the end": safetensors({"x": entry()}, bytes(25)),
    "data missing": safetensors({"x": entry()}, bytes(23)),
    "empty name": safetensors({"": entry()}),
    "long name": safetensors({"x" * (NAME_MAX_CHARACTERS + 1): entry()}),
    "pickle": pickle.dumps({"x": 1}),
    "old pickle": pickle.dumps({"x": 1}, protocol=0),
    "torch zip": b"PK\x03\x04" + bytes(100),
    "numpy": b"\x93NUMPY" + bytes(100),
}


@pytest.mark.parametrize("name", SAFETENSORS_DEFECTS)
def test_malformed_safetensors_are_refused(name: str) -> None:
    refused(SAFETENSORS_DEFECTS[name], ModelFormat.SAFETENSORS)


def test_names_and_ranks_at_the_bounds_are_taken() -> None:
    header = {"x" * NAME_MAX_CHARACTERS: entry(0, 4, shape=(1,) * RANK_MAX)}
    outline = check_model_file(memoryview(safetensors(header, bytes(4))), ModelFormat.SAFETENSORS)
    assert len(outline.tensors[0].shape) == RANK_MAX


def field(number: int, value: bytes | int) -> bytes:
    """Return one protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def model(graph: bytes = b"", *more: bytes) -> bytes:
    return field(1, 8) + field(7, graph) + b"".join(more)


TENSOR = field(1, 4) + field(2, 1) + field(8, b"w") + field(9, bytes(16))
EXTERNAL = field(13, field(1, b"location") + field(2, b"../../etc/passwd"))


def in_node(tensor: bytes) -> bytes:
    return field(1, field(4, b"Constant") + field(5, field(1, b"value") + field(5, tensor)))


def nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return graph


ONNX_FINE: dict[str, bytes] = {
    "smallest": model(),
    "weights": model(field(5, TENSOR), field(2, b"exporter"), field(8, field(2, 17))),
    "data in the model, said explicitly": model(field(5, TENSOR + field(14, 0))),
    "constant": model(in_node(TENSOR)),
    "function": model(b"", field(25, field(7, field(5, field(5, TENSOR))))),
    "floats": model(field(5, varint(4 << 3 | 5) + bytes(4) + varint(10 << 3 | 1) + bytes(8))),
    "graph in a node": model(nested(2)),
}


@pytest.mark.parametrize("name", ONNX_FINE)
def test_onnx_models_are_taken(name: str) -> None:
    assert check_model_file(memoryview(ONNX_FINE[name]), ModelFormat.ONNX).format is ModelFormat.ONNX


ONNX_DEFECTS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "pickle": lambda: pickle.dumps([1]),
    "no graph": lambda: field(1, 8),
    "no version": lambda: field(7, b""),
    "two graphs": lambda: model() + field(7, b""),
    "unknown field": lambda: model(b"", field(99, b"x")),
    "field zero": lambda: model(b"", varint(2) + b"\x00"),
    "group": lambda: model(b"", varint(2 << 3 | 3)),
    "kind 7": lambda: model(b"", varint(2 << 3 | 7)),
    "graph is a number": lambda: field(1, 8) + field(7, 1),
    "length beyond the end": lambda: field(1, 8) + varint(7 << 3 | 2) + varint(10),
    "length of 2^63": lambda: field(1, 8) + varint(7 << 3 | 2) + varint(1 << 63) + bytes(9),
    "endless number": lambda: field(1, 8) + b"\xff" * 11,
    "number cut off": lambda: model() + b"\x88",
    "fixed cut off": lambda: model(field(5, varint(4 << 3 | 5) + bytes(3))),
    "external initializer": lambda: model(field(5, TENSOR + EXTERNAL)),
    "external location": lambda: model(field(5, TENSOR + field(14, 1))),
    "external constant": lambda: model(in_node(TENSOR + EXTERNAL)),
    "external in a function": lambda: model(b"", field(25, field(7, field(5, field(5, EXTERNAL))))),
    "external in a subgraph": lambda: model(field(1, field(5, field(6, field(5, EXTERNAL))))),
    "external in a list of graphs": lambda: model(field(1, field(5, field(11, field(5, EXTERNAL))))),
    "external in a list of tensors": lambda: model(field(1, field(5, field(10, EXTERNAL)))),
    "sparse": lambda: model(field(15, b"")),
    "sparse attribute": lambda: model(field(1, field(5, field(22, b"")))),
    "training": lambda: model(b"", field(20, b"")),
    "deep": lambda: model(nested(ONNX_DEPTH_MAX)),
    "much beside the graph": lambda: model(b"", field(6, bytes(ONNX_BESIDE_GRAPH_MAX_BYTES))),
}


@pytest.mark.parametrize("name", ONNX_DEFECTS)
def test_malformed_onnx_is_refused(name: str) -> None:
    refused(ONNX_DEFECTS[name](), ModelFormat.ONNX)


def test_formats_are_not_taken_for_each_other() -> None:
    refused(safetensors(ONE), ModelFormat.ONNX)
    refused(model(field(5, TENSOR)), ModelFormat.SAFETENSORS)


def test_the_number_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from pcrgate.envelope import model_files_onnx

    monkeypatch.setattr(model_files_onnx, "ONNX_FIELDS_MAX", 3)
    check_onnx(memoryview(model(b"", field(2, b"x"))))
    refused(model(b"", field(2, b"x"), field(3, b"y")), ModelFormat.ONNX)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), format_=st.sampled_from(ModelFormat))
def test_arbitrary_bytes_end_in_the_typed_refusal(data: bytes, format_: ModelFormat) -> None:
    for candidate in (data, safetensors(data), model(data)):
        try:
            check_model_file(memoryview(candidate), format_)
        except ReleaseError as refusal:
            code = refusal.code
        else:
            code = ErrorCode.MODEL_FILE
        assert code is ErrorCode.MODEL_FILE


def test_a_stream_of_bytes_is_a_memoryview_first() -> None:
    with io.BytesIO(safetensors(ONE)) as stream, stream.getbuffer() as view:
        assert check_model_file(view, ModelFormat.SAFETENSORS).tensors[0].name == "x"
