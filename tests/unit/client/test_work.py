"""Read what workloads answer, strictly: whatever is not as documented is refused with one code."""

import struct

import pytest

from pcrgate.attestation.cbor import CborValue, encode
from pcrgate.client.work import TYPES, Tensor, inference_request, read_map, read_outputs
from pcrgate.errors import ClientError, ErrorCode

FLOATS: dict[int | str, CborValue] = {"type": "float32", "shape": [2], "data": struct.pack("<2f", 1, 2)}


def outputs(**changes: CborValue) -> bytes:
    tensor = FLOATS | dict[int | str, CborValue](changes.items())
    return encode({"outputs": {"y": tensor}})


def test_outputs_are_read() -> None:
    found = read_outputs(outputs())
    assert found == {"y": Tensor(type="float32", shape=(2,), data=struct.pack("<2f", 1, 2))}
    assert read_outputs(encode({"outputs": {}})) == {}
    assert repr(found["y"]).count("data") == 0


@pytest.mark.parametrize(
    "result",
    [
        b"\xff",
        encode([1]),
        encode({"output": {}}),
        encode({"outputs": {}, "more": 1}),
        encode({"outputs": [1]}),
        encode({"outputs": {"y": 1}}),
        encode({"outputs": {"y": {"type": "float32", "shape": [2]}}}),
        outputs(more=1),
        outputs(type=1),
        outputs(type="complex64"),
        outputs(shape="2"),
        outputs(shape=[-2]),
        outputs(shape=["2"]),
        outputs(shape=[True, 2]),
        outputs(shape=[3]),
        outputs(data="text"),
        outputs(data=b"short"),
    ],
)
def test_whatever_is_not_as_documented_is_refused(result: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        read_outputs(result)
    assert caught.value.code is ErrorCode.CLIENT_ANSWER


@pytest.mark.parametrize("kind", TYPES)
def test_tensors_have_the_length_of_their_type_and_shape(kind: str) -> None:
    size = TYPES[kind]
    tensor = Tensor(type=kind, shape=(2, 3), data=bytes(6 * size))
    value = read_map(inference_request("model", {"x": tensor}), {"model", "inputs"})
    assert value["inputs"] == {"x": {"type": kind, "shape": [2, 3], "data": bytes(6 * size)}}
    for wrong in (6 * size - 1, 6 * size + 1):
        with pytest.raises(ClientError):
            Tensor(type=kind, shape=(2, 3), data=bytes(wrong))
