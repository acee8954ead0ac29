"""Walk an ONNX model without a protobuf library: known messages, lengths inside the file, no data in other files.

Only structure is looked at: raw tensor data is stepped over by its length. A model whose tensors refer to other files
would have the runtime open paths that the file chose; none of it is signed, so it is refused, wherever in the graph.
Spec: ONNX IR, onnx.proto; protobuf encoding.
"""

from collections.abc import Iterator
from typing import Final

from pcrgate.errors import ErrorCode, ReleaseError

ONNX_FIELDS_MAX: Final = 2_000_000
"""Most fields of a whole model: the largest graphs have some hundred thousand; each costs the walk a microsecond."""

ONNX_DEPTH_MAX: Final = 32
"""Deepest nesting of messages: a graph within a node within a graph costs three levels, and models nest twice."""

ONNX_BESIDE_GRAPH_MAX_BYTES: Final = 16 << 20
"""Most bytes that a model may spend beside its graph: names, versions, metadata, functions."""

_VARINT_BYTES_MAX: Final = 10
_REFUSED: Final = "refused"
# Which fields of a message hold messages to look into, or things that have no place here.
_MODEL, _GRAPH, _FUNCTION, _NODE, _ATTRIBUTE, _TENSOR = (
    "the model",
    "a graph",
    "a function",
    "a node",
    "an attribute",
    "a tensor",
)
_INNER: Final[dict[str, dict[int, str]]] = {
    _MODEL: {7: _GRAPH, 20: _REFUSED, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _REFUSED},
    _FUNCTION: {7: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _REFUSED, 23: _REFUSED},
    _TENSOR: {13: _REFUSED},
}
_MODEL_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_IR_VERSION: Final = 1
_GRAPH_OF_MODEL: Final = 7
_DATA_LOCATION: Final = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_onnx(data: memoryview) -> None:
    """Refuse what is not one bounded ONNX model with all of its data inside.

    Args:
        data: the whole file.

    Raises:
        ReleaseError: ``model-file``.
    """
    numbers: list[int] = []
    beside_bytes = fields = 0
    waiting: list[tuple[str, int, int, int]] = [(_MODEL, 0, len(data), 1)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > ONNX_DEPTH_MAX:
            raise _refused(f"messages are nested deeper than {ONNX_DEPTH_MAX}")
        for number, begin, stop, kind in _fields(data, start, end, message):
            fields += 1
            if fields > ONNX_FIELDS_MAX:
                raise _refused(f"the model has more than {ONNX_FIELDS_MAX} fields")
            if message is _MODEL:
                numbers.append(number)
                beside_bytes += 0 if number == _GRAPH_OF_MODEL else stop - begin
            if message is _TENSOR and number == _DATA_LOCATION and any(data[begin:stop]):
                raise _refused("a tensor's data lies in another file, expected it in the model")
            inner = _INNER[message].get(number)
            if inner is _REFUSED:
                raise _refused(f"{message} has a part that is not loaded here: external, sparse or for training")
            if inner is not None:
                if kind != _BYTES:
                    raise _refused(f"{message} has a number where a message must be")
                waiting.append((inner, begin, stop, depth + 1))
    if numbers.count(_GRAPH_OF_MODEL) != 1 or numbers.count(_IR_VERSION) != 1 or not _MODEL_FIELDS.issuperset(numbers):
        raise _refused("it is not an ONNX model with exactly one graph and one version")
    if beside_bytes > ONNX_BESIDE_GRAPH_MAX_BYTES:
        raise _refused(f"{beside_bytes} bytes beside the graph, expected at most {ONNX_BESIDE_GRAPH_MAX_BYTES}")


def _fields(data: memoryview, start: int, end: int, message: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, start, end and kind of each field of a message."""
    position = start
    while position < end:
        key, position = _varint(data, position, end, message)
        number, kind = key >> 3, key & 7
        begin = position
        if kind == _VARINT:
            _, stop = _varint(data, position, end, message)
        elif kind == _BYTES:
            length, begin = _varint(data, position, end, message)
            stop = begin + length
        elif kind in {_FIXED64, _FIXED32}:
            stop = position + (8 if kind == _FIXED64 else 4)
        else:
            raise _refused(f"{message} has a field of a kind that does not exist")
        if number == 0 or stop > end:
            raise _refused(f"{message} has a field that reaches beyond its end")
        yield number, begin, stop, kind
        position = stop


def _varint(data: memoryview, position: int, end: int, message: str) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if position + index >= end:
            raise _refused(f"{message} ends within a number")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _refused(f"{message} has a number of more than {_VARINT_BYTES_MAX} bytes")


def _refused(fact: str) -> ReleaseError:
    return ReleaseError(ErrorCode.MODEL_FILE, fact)
