"""The kept output of frozen lower blocks: in memory up to a limit, beyond it in a temporary file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.w2s.task import Ints


class States:
    """Arrays (tokens, width) by the token ids they were computed from.

    limit: bytes kept in memory; what comes later is written to a temporary file that the system deletes with us.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes, self.spilled = limit, 0, 0
        self._kept: dict[bytes, NDArray[Any]] = {}
        self._filed: dict[bytes, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        self._file: Any = None

    def __contains__(self, ids: Ints) -> bool:
        key = ids.tobytes()
        return key in self._kept or key in self._filed

    def put(self, ids: Ints, values: NDArray[Any]) -> None:
        """Keep `values`, (tokens, width), of a text."""
        if self.bytes + values.nbytes <= self.limit:
            self._kept[ids.tobytes()] = values.copy()
            self.bytes += values.nbytes
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as we do
        self._filed[ids.tobytes()] = (self.spilled, values.shape, values.dtype)
        self.spilled += os.pwrite(self._file.fileno(), np.ascontiguousarray(values).tobytes(), self.spilled)

    def get(self, ids: Ints) -> NDArray[Any]:
        """What was kept, (tokens, width). Raises KeyError for a text that was not."""
        key = ids.tobytes()
        if key in self._kept:
            return self._kept[key]
        at, shape, dtype = self._filed[key]
        data = os.pread(self._file.fileno(), int(np.prod(shape)) * dtype.itemsize, at)
        return np.frombuffer(bytearray(data), dtype).reshape(shape)
