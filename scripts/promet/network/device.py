"""Where a training computes, and what has to be set there so that it gives the same bytes twice."""

from __future__ import annotations

import copy
import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of <malloc.h>
MADV_HUGEPAGE = 14  # of <sys/mman.h>
HUGE_PAGE, HEAP = 2 << 20, 512 << 20  # bytes
DRIVER = Path("/proc/driver/nvidia/version")


def keep_memory() -> None:
    """Have the C library keep freed memory for the next tensor, in large pages, instead of asking the kernel for zeroed pages each time.

    A quarter of the time of a training step on CPU, and no effect on any number. Only glibc knows these options.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    for option, value in (
        (M_MMAP_THRESHOLD, 1 << 30),
        (M_TRIM_THRESHOLD, (1 << 31) - 1),
        (M_MMAP_MAX, 0),
    ):
        library.mallopt(option, value)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if start := library.malloc(HEAP):  # address space, not memory: pages come with their first use
        aligned = -(-start // HUGE_PAGE) * HUGE_PAGE
        library.madvise(aligned, HEAP - HUGE_PAGE, MADV_HUGEPAGE)
        library.free(start)


def prepare_torch(tf32: bool = False) -> torch.device:
    """One thread, deterministic, memory kept, tiny numbers zero; the device to use.

    Args:
        tf32: on a GPU, multiply with 10 instead of 23 bits.
    """
    keep_memory()
    # Tails of filters over the empty background end below 1e-38, where a processor takes a hundred times as long.
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(
        1
    )  # the sums' order depends on it, and two threads on shared cores are slower than one
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms does the same and loads the compiler's settings, a second of CPU
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # every empty tensor would be filled first
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
        tf32  # torch's own: convolutions
    )
    return device


def unrepeatable(model: nn.Module, shape: Sequence[int], device: torch.device) -> list[str]:
    """Try a step of a copy; where an operation has no deterministic form, say so and let torch warn of it instead of refusing.

    None of the four networks by name has one (docs/design.md); others of monai may.

    Args:
        model: on the device.
        shape: (channels, z, y, x).
        device: nothing is tried on CPU.

    Returns:
        A sentence for the record, or nothing.
    """
    if device.type == "cpu":
        return []
    try:
        copy.deepcopy(model).train()(torch.zeros(2, *shape, device=device)).sum().backward()
    except RuntimeError as error:
        operation, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        torch.set_deterministic_debug_mode("warn")
        return [
            f"On a GPU {operation} adds up in another order each time: trained again, this seed gives other weights"
        ]
    return []


def about(device: torch.device, tf32: bool) -> dict[str, Any]:
    """Notes for the record: device, and of a GPU its name, driver, cuDNN, setting of TF32 and the most memory held (MB)."""
    if device.type != "cuda":
        return {"device": device.type}
    driver = re.search(r"\d+(\.\d+)+", DRIVER.read_text(encoding="utf-8")) if DRIVER.exists() else None
    return {
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device),
        "driver": driver[0] if driver else "",
        "cuda": torch.version.cuda or "",
        "cudnn": torch.backends.cudnn.version(),
        "tf32": tf32,
        "gpu_memory_mb": torch.cuda.max_memory_reserved(device) >> 20,
    }
