"""How numbers are computed: on which device, in which precision (bf16 or fp32), with which processes to help."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from augment.compute.workers import Workers
from augment.errors import ConfigError, unknown_name
from augment.storage.cache import kept
from augment.storage.files import read_json, write_json
from augment.storage.locations import cache_folder

PRECISIONS = ("auto", "bf16", "fp32")

BF16_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""Instruction sets without which bf16 on a CPU is emulated and slower than fp32."""

CPUINFO = Path("/proc/cpuinfo")

WORTHWHILE = 1.15
"""bf16 must be this much faster than fp32 before a CPU uses it by default: it costs 16 bits of mantissa."""


def available_devices() -> list[str]:
    """Names :func:`choose_device` accepts on this machine, the fastest first."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*(["cuda"] if gpus else []), *gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` takes cuda, then mps, then cpu.

    Raises ConfigError that lists what this machine has.
    """
    present = available_devices()
    if name == "auto":
        return torch.device(present[0])
    if name in present:
        return torch.device(name)
    if name.partition(":")[0] in ("cuda", "mps"):
        raise ConfigError(
            f"Device {name!r} is not there: PyTorch finds {', '.join(present)}. Use one of these or auto."
        )
    raise ConfigError(unknown_name("device", name, ["auto", *present]))


def choose_precision(name: str = "auto", device: torch.device | str = "cpu") -> str:
    """``bf16`` (autocast; weights stay fp32) or ``fp32`` for ``device``.

    ``auto`` is bf16 on a GPU that has it; on a CPU with AMX or AVX512-BF16 the faster of the two in a race of about 0.2
    s, run once per machine and PyTorch version and remembered in the cache folder; fp32 anywhere else.
    Raises ConfigError for an unknown name and for bf16 on a GPU without it.
    """
    if name not in PRECISIONS:
        raise ConfigError(unknown_name("precision", name, PRECISIONS))
    kind = torch.device(device).type
    if kind == "cuda" and name != "fp32":
        return _cuda_precision(name)
    if name != "auto":
        return name
    return "bf16" if kind == "cpu" and bf16_speedup() >= WORTHWHILE else "fp32"


def _cuda_precision(name: str) -> str:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    if name == "auto":
        return "fp32"
    raise ConfigError(f"{torch.cuda.get_device_name()} has no bf16. Use precision fp32 or auto.")


def bf16_speedup() -> float:
    """How many times faster than fp32 a convolution trains in bf16 on this CPU; 0 without the instructions for it."""
    model, flags = processor()
    if not flags & BF16_CPU_FLAGS:
        return 0.0
    file = cache_folder() / "precision.json"
    key = f"{model} | torch {torch.__version__}"

    def read(path: Path) -> float | None:
        value = (read_json(path) or {}).get(key)
        return float(value) if isinstance(value, int | float) else None

    def write(path: Path, value: float) -> None:
        write_json(path, {**(read_json(path) or {}), key: value})

    return kept(file, lambda: round(race(), 3), read=read, write=write)


def processor(cpuinfo: Path = CPUINFO) -> tuple[str, frozenset[str]]:
    """Model name and instruction sets as Linux tells them; empty elsewhere."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return fields.get("model name", ""), frozenset(fields.get("flags", "").split())


def race(rounds: int = 3) -> float:
    """Time of an fp32 convolution's training step over that of a bf16 one, best of ``rounds`` interleaved runs.

    Both on one thread and in CPU time, so that other work on the machine does not decide what is remembered for long.
    """
    images = torch.linspace(-1, 1, 64 * 32 * 14 * 14).reshape(64, 32, 14, 14).to(memory_format=torch.channels_last)
    weight = torch.linspace(-0.1, 0.1, 32 * 32 * 9).reshape(32, 32, 3, 3).to(memory_format=torch.channels_last)
    times: dict[bool, list[float]] = {False: [], True: []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds + 1):
            for half, measured in times.items():
                measured.append(_timed_step(images, weight, half=half))
    finally:
        torch.set_num_threads(threads)
    return min(times[False][1:]) / min(times[True][1:])  # the first round also compiles the kernels


def _timed_step(images: Tensor, weight: Tensor, *, half: bool) -> float:
    start = time.thread_time()
    with torch.inference_mode(False), torch.enable_grad():
        inputs, filters = images.clone().requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            hidden = functional.silu(functional.conv2d(inputs, filters, padding=1))
            loss = functional.conv2d(hidden, filters, padding=1).float().square().mean()
        torch.autograd.grad(loss, (inputs, filters))
    return max(time.thread_time() - start, 1e-6)


@dataclass(frozen=True)
class Compute:
    """What a computation runs on; results depend on the device and the precision, never on the workers.

    device: of networks that are made here; a generator stays where it is.  precision: "bf16" computes under autocast,
    "fp32" does not.  workers: processes that help; without any, some are started where the work is slow.
    """

    device: str = "cpu"
    precision: str = "fp32"
    workers: Workers | None = None

    @cached_property
    def queue(self) -> Workers:
        """Where calls wait for a worker; without workers, whoever asks for their results runs them."""
        return self.workers or Workers(0)


CPU = Compute()
"""Full precision on the CPU."""
