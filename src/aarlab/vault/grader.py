"""From a method's outputs to right and wrong: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import MethodError
from aarlab.w2s.task import Draw

Bools = NDArray[np.bool_]


def grade(outputs: Sequence[NDArray[np.floating]], draws: Sequence[Draw], labels: NDArray[np.int8]) -> Bools:
    """Whether each test item was answered right, (seeds, items), items in ascending row number.

    outputs: one array (n_test,) of P(label = 1) per draw, in the order of `Draw.test`. labels: {0, 1} for every item
    of the task. An output above 0.5 says 1. Raises MethodError for an output that breaks the contract.
    """
    if len(outputs) != len(draws):
        raise MethodError("shape", f"{len(outputs)} outputs for {len(draws)} seeds")
    rows = [_right(np.asarray(out), draw, labels) for out, draw in zip(outputs, draws, strict=True)]
    return np.stack(rows)


def _right(output: NDArray[np.floating], draw: Draw, labels: NDArray[np.int8]) -> Bools:
    check_output(output, len(draw.test))
    order = np.argsort(draw.test)
    right: Bools = (output[order] > 0.5) == (labels[draw.test[order]] == 1)
    return right


def check_output(output: NDArray[np.floating], items: int) -> None:
    """Refuse anything but `items` finite floats in [0, 1]."""
    if output.dtype.kind != "f":
        raise MethodError("dtype", f"run returned {output.dtype}; floats between 0 and 1 are needed")
    if output.shape != (items,):
        raise MethodError("shape", f"run returned shape {output.shape}; ({items},) is needed")
    if not np.isfinite(output).all():
        raise MethodError("nan", "run returned values that are not finite")
    if ((output < 0) | (output > 1)).any():
        raise MethodError("range", "run returned values outside [0, 1]")
