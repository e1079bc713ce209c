"""Upper bounds of the size of a model's int8 files, so that no test has to quantise a model of real size."""

import math
from collections.abc import Iterable, Sequence

#: Bytes of the graph for each layer, and once for the rest. They do not depend on widths.
GRAPH_BYTES = 100_000

#: Bytes beside the weights, counted the same way: shapes, and ranges of activations.
OTHER_BYTES = 1_000

#: Bytes of a line of tokenizer.json: indentation, quotation marks, a number, and a word piece of 20 characters.
TOKEN_BYTES = 40


def weight_bytes(shapes: Iterable[Sequence[int]], layers: int) -> int:
    """At most a byte for each number of a matrix, and four for each of its rows' scales and each number of a vector.

    Args:
        shapes: of all parameters, of one or more dimensions.
        layers: of the encoder.
    """
    numbers = sum(math.prod(shape) + 4 * shape[0] if len(shape) > 1 else 4 * shape[0] for shape in shapes)
    return numbers + OTHER_BYTES * (layers + 1)


def graph_bytes(layers: int) -> int:
    """At most, for the file beside the weights."""
    return GRAPH_BYTES * (layers + 1)
