"""Devices, precisions and memory. GPUs are simulated: fixtures answer what torch is asked about them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.inference import device as module
from darkside_cli.inference.device import (
    Precision,
    autocast,
    free_memory,
    is_out_of_memory,
    pick_device,
    pick_precision,
    release_memory,
    visible_devices,
)

CPU = torch.device("cpu")
MPS = torch.device("mps")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Ampere GPU and a Turing one; the second is current."""
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("A100", "T4")[index])
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: ((8, 0), (7, 5))[torch.device(device).index]
    )


@pytest.fixture
def mac(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda major, minor: (major, minor) <= (13, 6)
    )


# Devices


def test_auto_takes_the_current_cuda_device(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == pick_device("auto") == pick_device("cuda") == torch.device("cuda", 1)


def test_auto_takes_mps_then_the_cpu(mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device() == MPS
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == CPU


def test_cuda_libraries_without_a_gpu(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device() == CPU
    with pytest.raises(UsageError, match="there is no device 'cuda' here"):
        pick_device("cuda")


def test_named_devices(two_gpus: None) -> None:
    assert pick_device("cpu") == pick_device("cpu:0") == CPU
    assert pick_device("cuda:0") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert visible_devices() == ["cuda:0 (A100)", "cuda:1 (T4)", "cpu"]


@pytest.mark.parametrize("name", ["cuda:2", "cuda:10", "mps", "cpu:1"])
def test_absent_device_is_answered_with_those_there_are(two_gpus: None, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        pick_device(name)
    assert caught.value.message == f"there is no device '{name}' here"
    assert caught.value.hint == "there are: cuda:0 (A100), cuda:1 (T4), cpu"


def test_cuda_on_a_torch_without_it_says_so(mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError) as caught:
        pick_device("cuda:0")
    assert caught.value.hint == "there are: mps, cpu; the installed torch is built without CUDA"


@pytest.mark.parametrize("name", ["cuda3", "gpu", "cuda:-1", "cuda:", "cuda:x", "CPU ", "", "cuda:1 "])
def test_what_is_no_device_name(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        pick_device(name)
    assert caught.value.message == f"unknown device '{name}'"
    assert str(caught.value.hint).endswith("; or cuda:N")


# Precision


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", "fp32"),
        ("auto", "cuda:0", "bf16"),
        ("auto", "cuda:1", "fp16"),
        ("fp32", "cpu", "fp32"),
        ("fp32", "cuda:0", "fp32"),
        ("bf16", "cpu", "bf16"),
        ("bf16", "cuda:0", "bf16"),
        ("fp16", "cuda:0", "fp16"),
        ("fp16", "cuda:1", "fp16"),
        ("fp16", "mps", "fp16"),
    ],
)
def test_precision(two_gpus: None, name: str, device: str, expected: Precision) -> None:
    assert pick_precision(name, torch.device(device)) == expected


def test_precision_on_amd_gpus(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert pick_precision("auto", torch.device("cuda:1")) == "bf16"


def test_precision_on_mps(mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_precision("auto", MPS) == "fp32"
    with pytest.raises(UsageError, match="device mps does not compute in bf16"):
        pick_precision("bf16", MPS)
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda major, minor: (major, minor) <= (14, 0)
    )
    assert pick_precision("bf16", MPS) == "bf16"


def test_precision_that_the_device_does_not_have(two_gpus: None) -> None:
    with pytest.raises(UsageError) as caught:
        pick_precision("fp16", CPU)
    assert str(caught.value) == "fp16 does not work on the CPU (use --precision fp32 or bf16 there)"
    with pytest.raises(UsageError) as caught:
        pick_precision("bf16", torch.device("cuda:1"))
    assert str(caught.value) == "device cuda:1 does not compute in bf16 (use --precision fp16 or fp32)"


def test_misspelt_precision_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown precision 'fp23' .*fp32"):
        pick_precision("fp23", CPU)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("within", [False, True])
def test_autocast_computes_in_that_precision(
    precision: Precision, expected: torch.dtype, within: bool
) -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    outer = torch.autocast("cpu", dtype=torch.bfloat16) if within else nullcontext()
    with outer, autocast(precision, CPU):
        assert layer(x).dtype == expected
    assert layer.weight.dtype == torch.float32
    assert layer(x).dtype == torch.float32


# Memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB, max allowed: 9.07 GB)"),
        RuntimeError("Invalid buffer size: 24.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_exhausted_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_the_cpu_allocators_own_error_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)  # an exbibyte and more: no machine grants that
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        ValueError("out of memory"),
        OSError("out of memory"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_free_memory_of_a_gpu_counts_the_unused_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert free_memory(torch.device("cuda:0")) == 1000 + 500 - 200


def test_free_memory_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1000)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 300)
    assert free_memory(MPS) == 700
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 1300)
    assert free_memory(MPS) == 0


def test_free_memory_of_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(module, "_MEMINFO", meminfo)
    assert free_memory(CPU) == 0
    meminfo.write_text("MemTotal:       99 kB\nMemFree:        1 kB\nMemAvailable:   42 kB\n")
    assert free_memory(CPU) == 42 * 1024
    meminfo.write_text("MemTotal:       99 kB\n")
    assert free_memory(CPU) == 0


def test_release_memory_empties_the_devices_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def chosen(device: torch.device) -> nullcontext[None]:
        calls.append(device)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "device", chosen)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: calls.append("mps"))
    release_memory(CPU)
    assert calls == []
    release_memory(torch.device("cuda:1"))
    assert calls == [torch.device("cuda:1"), "cuda"]
    release_memory(MPS)
    assert calls[2:] == ["mps"]
