"""Write the smallest ONNX model by hand: y = x + w, with w as its weights. What `local dev` serves, and tests run."""

import struct


def varint(number: int) -> bytes:
    """Return a protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def number(field: int, value: int) -> bytes:
    """Return a field with a number."""
    return varint(field << 3) + varint(value)


def piece(field: int, content: bytes | str) -> bytes:
    """Return a field with bytes, text or an inner message."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def value_info(name: str, length: int) -> bytes:
    """Return a float vector's description."""
    dimension = piece(1, number(1, length))
    return piece(1, name) + piece(2, piece(1, number(1, 1) + piece(2, dimension)))


def adding_model(weights: tuple[float, ...]) -> bytes:
    """Return a model that adds these weights to its input ``x`` and calls the result ``y``."""
    raw = struct.pack(f"<{len(weights)}f", *weights)
    tensor = number(1, len(weights)) + number(2, 1) + piece(8, "w") + piece(9, raw)
    node = piece(1, "x") + piece(1, "w") + piece(2, "y") + piece(4, "Add")
    graph = (
        piece(1, node)
        + piece(2, "adding")
        + piece(5, tensor)
        + piece(11, value_info("x", len(weights)))
        + piece(12, value_info("y", len(weights)))
    )
    return number(1, 8) + piece(7, graph) + piece(8, piece(1, "") + number(2, 13))
