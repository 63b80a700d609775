"""Arrays on disk: numpy's files, written so that a full disk is told as what it is."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.files import write_bytes


def write_array(path: Path, array: NDArray[Any]) -> int:
    """Write an array as .npy, not flushed; returns the CRC-32 of the file.

    numpy's own writer counts what it wrote, but does not hear why the system took no more. Raises StorageError.
    """
    array = np.ascontiguousarray(array)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    body = array.reshape(-1).view(np.uint8).data
    write_bytes(path, head.getvalue(), body, sync=False)
    return zlib.crc32(body, zlib.crc32(head.getvalue()))
