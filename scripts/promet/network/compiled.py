"""Loops that torch has no fast operation for, compiled to machine code by numba for CPU tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba import config, njit

# A product and a sum may be one instruction; nothing else about the arithmetic is loosened.
OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}

if (
    not (config.CPU_NAME or config.CPU_FEATURES)
    and "avx512f" in (features := llvm.get_host_cpu_features()).flatten()
):
    # Vectors of 512 bits, which compilers avoid for the sake of old processors; who has named a processor knows better.
    config.CPU_FEATURES = f"{features.flatten()},-prefer-256-bit"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code, kept in numba's cache where there is a place to write to (else each job compiles it anew)."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither this folder nor the user's own can be written to
        return njit(**OPTIONS)(function)
