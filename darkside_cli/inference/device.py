"""Where networks run, in which precision, how much memory there is, and which errors say there is none left.

fp32 on the CPU is the exact mode: all recorded numbers are held against it. Half precisions are used through
autocast; weights stay in fp32.
"""

from __future__ import annotations

import gc
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch

from darkside_cli.errors import UnknownNameError, UsageError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_DEVICE = re.compile(r"(?P<kind>cpu|cuda|mps)(?::(?P<index>\d+))?")
# torch raises plain RuntimeErrors for exhausted memory in many places; these are what they say.
_OUT_OF_MEMORY = re.compile(
    r"out of memory"  # CUDA, HIP and MPS allocators, and CUDA's own "CUDA error: out of memory"
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"  # Linux and macOS, Windows
    r"|std::bad_alloc"
    r"|Invalid buffer size"  # Metal: one tensor that is larger than any buffer may be
    r"|(CUBLAS|CUDNN|CUSOLVER|CUFFT|HIPBLAS|MIOPEN)_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_MEMINFO = Path("/proc/meminfo")


def visible_devices() -> list[str]:
    """Devices that can be asked for by name on this machine, the GPUs' models in brackets."""
    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(_cuda_devices())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def _cuda_devices() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def pick_device(name: str = "auto") -> torch.device:
    """Device called ``name``: "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:N" or "mps".

    CUDA devices always have their number, so that they compare equal to those of tensors; "cuda" is the
    current one.

    Raises UsageError if there is no such device here, naming those there are.
    """
    if name == "auto":
        name = "cuda" if _cuda_devices() else "mps" if torch.backends.mps.is_available() else "cpu"
    match = _DEVICE.fullmatch(name)
    if match is None:
        raise UnknownNameError("device", name, ["auto", "cpu", "cuda", "mps"], extra_hint="or cuda:N")
    kind, index = match["kind"], int(match["index"] or 0)
    if kind == "cuda":
        if match["index"] is None and _cuda_devices():
            index = torch.cuda.current_device()
        if index >= _cuda_devices():
            raise _no_such_device(name)
        return torch.device("cuda", index)
    if index > 0 or (kind == "mps" and not torch.backends.mps.is_available()):
        raise _no_such_device(name)
    return torch.device(kind)


def _no_such_device(name: str) -> UsageError:
    hint = f"there are: {', '.join(visible_devices())}"
    if name.startswith("cuda") and torch.version.cuda is None and torch.version.hip is None:
        hint += "; the installed torch is built without CUDA"
    return UsageError(f"there is no device '{name}' here", hint=hint)


def pick_precision(name: str, device: torch.device) -> Precision:
    """Precision called ``name`` on ``device``: "auto", "fp32", "bf16" or "fp16".

    "auto" is fp32 on the CPU and on MPS, bf16 on CUDA GPUs that compute in it, and fp16 on older ones.

    Raises UsageError for what the device cannot do, or does only in name: fp16 on the CPU (torch has few fp16
    kernels there, and they are slower than fp32), bf16 on GPUs that emulate it, bf16 on MPS before macOS 14.
    """
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if _computes_bf16(device) else "fp16"
    if name == "fp32":
        return "fp32"
    if name == "fp16":
        if device.type == "cpu":
            raise UsageError("fp16 does not work on the CPU", hint="use --precision fp32 or bf16 there")
        return "fp16"
    if name == "bf16":
        if not _computes_bf16(device):
            raise UsageError(f"device {device} does not compute in bf16", hint="use --precision fp16 or fp32")
        return "bf16"
    raise UnknownNameError("precision", name, ["auto", *PRECISIONS])


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        # From compute capability 8.0 (Ampere) on; torch emulates it below. All AMD GPUs that torch drives do.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return True


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Context in which a network's forward pass and loss run in ``precision``; backward belongs outside.

    "fp32" switches autocast off, also inside somebody else's.
    """
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or on the CPU.

    Such an error keeps the tensors of the failed pass alive through its traceback: leave the ``except`` block
    before trying again with less.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on ``device``, as far as known; 0 where the system does not tell.

    On CUDA this counts what torch holds in its cache unused. On the CPU it is what Linux calls available.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def release_memory(device: torch.device) -> None:
    """Give memory that torch keeps on ``device`` for later back to the system, unreachable tensors' too."""
    gc.collect()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
