"""An ONNX graph's input normalisation, folded into the quantisation of its first convolutions.

The codes then reach the quantised network untouched: no float copy of the picture is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# A zero point this near to a whole code is one: x = scale * (code - zero point) then holds exactly.
WHOLE_CODE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FoldedInput:
    """tensor = scale * (code - zero_point), float, what a first convolution takes."""

    tensor: str
    scale: float
    zero_point: int


def fold_normalisation(model: ModelProto) -> list[FoldedInput]:
    """Replace the arithmetic between the input codes and the first convolutions, in place.

    The chain of Cast, Sub, Mul, ... before each becomes one DequantizeLinear over the codes, moved
    (transposed, mirrored) as they are. Where all channels share one scale and a whole code is the
    zero, this is exact, padding included, since the zero point pads. Else scales and offsets per
    channel go into the convolution's weights and bias, which is exact but for the border, where
    padding then stands for a slightly different code. A convolution with anything else before it
    is left as it is.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    made: list[NodeProto] = []
    folded: dict[str, FoldedInput] = {}
    for entry in _entries(graph):
        values = _quantised_entry(graph, entry)
        if values is None:
            continue
        scale, point = values
        name = entry.conv.name or entry.conv.output[0]
        tensor = f"{name}.codes"
        if tensor in folded:
            continue
        codes = entry.codes
        for step, node in enumerate(entry.moves):
            moved = f"{tensor}.moved{step}"
            copied = helper.make_node(
                node.op_type, [codes, *node.input[1:]], [moved], name=f"{moved}.node"
            )
            copied.attribute.extend(node.attribute)
            made.append(copied)
            codes = moved
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(scale, np.float32), f"{tensor}.scale"),
                numpy_helper.from_array(np.array(point, np.uint8), f"{tensor}.zero_point"),
            ]
        )
        made.append(
            helper.make_node(
                "DequantizeLinear",
                [codes, f"{tensor}.scale", f"{tensor}.zero_point"],
                [tensor],
                name=f"{tensor}.node",
            )
        )
        entry.conv.input[0] = tensor
        folded[tensor] = FoldedInput(tensor, scale, point)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *kept])
    _drop_unused(graph)
    return list(folded.values())


@dataclass(frozen=True)
class _Entry:
    """A convolution that takes scale * code + offset (per channel) of codes moved so.

    codes: the uint8 tensor that the moves begin with.
    """

    codes: str
    conv: NodeProto
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    moves: tuple[NodeProto, ...]


def _entries(graph: GraphProto) -> list[_Entry]:
    """Every convolution that the codes reach through elementwise constants and moves alone."""
    found: list[_Entry] = []
    nodes = list(graph.node)
    begun = ""

    def follow(
        tensor: str,
        scale: NDArray[np.float64],
        offset: NDArray[np.float64],
        moves: tuple[NodeProto, ...],
    ) -> None:
        for node in nodes:
            if not len(node.input) or (node.input[0] != tensor and tensor not in node.input):
                continue
            channels_last = not any(move.op_type == "Transpose" for move in moves)
            first = node.input[0] == tensor
            output = node.output[0]
            if node.op_type == "Conv" and first and not channels_last:
                found.append(_Entry(begun, node, scale, offset, moves))
            elif node.op_type in ("Cast", "Identity"):
                follow(output, scale, offset, moves)
            elif node.op_type == "Slice" and first and _mirrors(graph, node):
                follow(output, scale, offset, (*moves, node))
            elif node.op_type == "Transpose" and channels_last:
                if [i for a in node.attribute if a.name == "perm" for i in a.ints] == [0, 3, 1, 2]:
                    follow(output, scale, offset, (*moves, node))
            elif node.op_type in ("Add", "Sub", "Mul", "Div"):
                value = _per_channel(graph, node, tensor, channels_last=channels_last)
                if value is None:
                    continue
                if node.op_type == "Mul":
                    follow(output, scale * value, offset * value, moves)
                elif node.op_type == "Add":
                    follow(output, scale, offset + value, moves)
                elif first and node.op_type == "Sub":
                    follow(output, scale, offset - value, moves)
                elif first:
                    follow(output, scale / value, offset / value, moves)

    for begun in (graph.input[0].name, *_stacked_codes(graph)):
        follow(begun, np.ones(3), np.zeros(3), ())
    return found


def _stacked_codes(graph: GraphProto) -> list[str]:
    """What stacks the codes and mirror images of them as samples: codes still."""
    views = {graph.input[0].name}
    out = []
    for node in graph.node:
        if node.op_type == "Slice" and node.input[0] in views and _mirrors(graph, node):
            views.add(node.output[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), None)
        if node.op_type == "Concat" and axis == 0 and set(node.input) <= views:
            out.append(node.output[0])
    return out


def _mirrors(graph: GraphProto, node: NodeProto) -> bool:
    """Whether a Slice turns its picture round and drops nothing."""
    from onnx import numpy_helper

    if len(node.input) < 5:
        return False
    stored = [_initializer(graph, name) for name in (node.input[1], node.input[4])]
    if any(tensor is None for tensor in stored):
        return False
    starts, steps = (numpy_helper.to_array(tensor) for tensor in stored)
    return bool((steps == -1).all() and (starts == -1).all())


def _quantised_entry(graph: GraphProto, entry: _Entry) -> tuple[float, int] | None:
    """Scale and zero point of an entry's codes; weights and bias adapted where channels differ."""
    from onnx import numpy_helper

    scale, offset, conv = entry.scale, entry.offset, entry.conv
    if (scale <= 0).any():
        return None
    zero = -offset / scale
    point = round(float(zero.mean()))
    if not 0 <= point <= 255:
        return None
    common = float(scale.mean())
    even = np.ptp(scale) <= 1e-6 * common and np.ptp(zero) <= WHOLE_CODE_TOLERANCE
    if even and abs(float(zero.mean()) - point) <= WHOLE_CODE_TOLERANCE:
        return common, point
    weights = _initializer(graph, conv.input[1])
    bias = _initializer(graph, conv.input[2]) if len(conv.input) > 2 else None
    grouped = any(a.name == "group" and a.i != 1 for a in conv.attribute)
    if weights is None or grouped or (len(conv.input) > 2 and bias is None):
        return None
    values = numpy_helper.to_array(weights).astype(np.float64)
    extra = (values * (scale * point + offset)[None, :, None, None]).sum(axis=(1, 2, 3))
    base = np.zeros(len(values)) if bias is None else numpy_helper.to_array(bias).astype(np.float64)
    scaled = values * (scale / common)[None, :, None, None]
    stem = conv.name or conv.output[0]
    graph.initializer.extend(
        [
            numpy_helper.from_array(scaled.astype(np.float32), f"{stem}.folded.weight"),
            numpy_helper.from_array((base + extra).astype(np.float32), f"{stem}.folded.bias"),
        ]
    )
    inputs = [conv.input[0], f"{stem}.folded.weight", f"{stem}.folded.bias"]
    del conv.input[:]
    conv.input.extend(inputs)
    return common, point


def _drop_unused(graph: GraphProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {output.name for output in graph.output}
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _per_channel(
    graph: GraphProto, node: NodeProto, tensor: str, *, channels_last: bool
) -> NDArray[np.float64] | None:
    """The constant operand beside ``tensor`` as (3,); None where it is not constant a channel."""
    from onnx import numpy_helper

    other = node.input[1] if node.input[0] == tensor else node.input[0]
    stored = _initializer(graph, other)
    if stored is None:
        return None
    value = numpy_helper.to_array(stored).astype(np.float64)
    if value.size == 1:
        return np.full(3, value.item())
    shape = (1,) * (4 - value.ndim) + value.shape if value.ndim <= 4 else ()
    return value.reshape(3) if shape == ((1, 1, 1, 3) if channels_last else (1, 3, 1, 1)) else None


def _initializer(graph: GraphProto, name: str) -> Any:
    return next((tensor for tensor in graph.initializer if tensor.name == name), None)


def join_input(graph: GraphProto, tensor: str) -> None:
    """Drop the pair that packs the dequantised codes again, with the same scale and zero point."""
    before = next(node for node in graph.node if node.output[0] == tensor)
    packed = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor]
    for packing in packed:
        for unpacking in [n for n in graph.node if packing.output[0] in n.input]:
            for node in graph.node:
                for index, name in enumerate(node.input):
                    if name == unpacking.output[0]:
                        node.input[index] = before.output[0]
            graph.node.remove(unpacking)
        graph.node.remove(packing)
