"""What this machine computes with: device, threads, memory allocator, number format, processes.

Owns choices that change how fast a run is, not what it learns. Must not know the data.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import nn

from sorter.errors import UsageError
from sorter.host.cores import usable_cores
from sorter.host.processor import processor
from train.config import Config
from train.networks import Network

_THREADS_BESIDE_GPU = 4
"""Threads of one operation on the CPU: the threads that make batches run side by side already."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, slots=True)
class Machine:
    """`amp` is None for plain float32. Process `rank` of `world`, 0 of 1 when alone.

    `cores` are this process's share of the machine.
    """

    device: torch.device
    amp: torch.dtype | None
    rank: int = 0
    world: int = 1
    cores: int = 1

    def autocast(self) -> AbstractContextManager[object]:
        """The number format of the forward pass."""
        if self.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.amp)

    def share_gradients(self, network: nn.Module) -> None:
        """Average gradients over all processes."""
        if self.world == 1:
            return
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.world
        at = 0
        for grad in grads:
            grad.copy_(flat[at : at + grad.numel()].view_as(grad))
            at += grad.numel()

    def share_weights(self, network: nn.Module) -> None:
        """Every process continues with the first one's weights and statistics."""
        if self.world > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def agree(self, wanted: bool) -> bool:
        """True in all processes where it is true in one: they wait for each other, so all stop."""
        if self.world == 1:
            return wanted
        flag = torch.tensor(float(wanted), device=self.device)
        dist.all_reduce(flag)
        return bool(flag > 0)

    def wait(self) -> None:
        """Meet the other processes."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def open_machine(config: Config) -> Iterator[Machine]:
    """Set this process up; ends the process group, if `torchrun` asked for one."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device here; use --device cpu or auto")
    wants_cuda = config.device != "cpu" and torch.cuda.is_available()
    world, rank, local = (
        _from_torchrun(name, usual)
        for name, usual in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
    )
    if world > 1:
        dist.init_process_group("nccl" if wants_cuda else "gloo")
    device = torch.device("cuda", local) if wants_cuda else torch.device("cpu")
    share = max(1, usable_cores() // _from_torchrun("LOCAL_WORLD_SIZE", world))
    if wants_cuda:
        torch.cuda.set_device(device)
        torch.set_num_threads(config.threads or min(_THREADS_BESIDE_GPU, share))
    else:
        torch.set_num_threads(config.threads or share)
        torch.set_flush_denormal(True)
        _keep_memory()
    try:
        yield Machine(device, None, rank, world, share)
    finally:
        if world > 1:
            dist.destroy_process_group()


_PROBED = 32
"""Pictures of a step that is measured: of eight, float32 was as quick as bf16 where a real step
took a third longer."""
_ROUNDS = 6
_ROUND_S = 8.0
"""Number formats are measured so often and so long at most, but twice: the first pass is slow."""

_FORMATS: dict[str, torch.dtype | None] = {
    "off": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_amp(
    machine: Machine,
    network: Network,
    config: Config,
    *,
    say: Callable[[str], None],
    kept: str = "",
) -> Machine:
    """The machine with the number format that `config.amp` asks for.

    auto takes what the resumed run had, `kept`, since another would give other weights; otherwise
    it measures on a CPU. `network` is left as it was.
    """
    wanted = kept if config.amp == "auto" and kept in _FORMATS else config.amp
    amp = _FORMATS.get(wanted)
    if wanted == "auto":
        if machine.device.type == "cuda":
            amp = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
            say(f"mixed precision: {amp}")
        elif machine.world == 1 and _has_bf16():
            tried = copy.deepcopy(network)  # a pass in training changes batch norm's statistics
            tried.freeze_norm = config.freeze_norm
            tried.freeze(config.freeze_blocks)
            # In turn, so that other work on the machine does not meet one of them alone.
            rounds: list[list[float]] = []
            end = time.monotonic() + _ROUND_S
            while len(rounds) < 2 or (len(rounds) < _ROUNDS and time.monotonic() < end):
                rounds.append([_probe(machine, tried, f) for f in (None, torch.bfloat16)])
            plain, short = (min(times) for times in zip(*rounds, strict=True))
            amp = torch.bfloat16 if short < plain else None
            say(f"a step of {_PROBED} takes {plain:.2f} s in float32, {short:.2f} s in bf16")
        else:
            say("float32, channels last: this processor has no bf16 instructions")
    return replace(machine, amp=amp)


def amp_name(machine: Machine) -> str:
    """Its number format, as `--amp` names it."""
    return next(name for name, amp in _FORMATS.items() if amp is machine.amp)


def _has_bf16() -> bool:
    """bf16 without instructions for it was measured several times slower than float32."""
    return not processor().flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16", "avx_ne_convert"})


def _probe(machine: Machine, network: Network, amp: torch.dtype | None) -> float:
    """Seconds of a forward-and-backward pass."""
    side = network.size_px
    pictures = torch.zeros(_PROBED, 3, side, side).contiguous(memory_format=torch.channels_last)
    network.train()
    begin = time.perf_counter()
    with Machine(machine.device, amp).autocast():
        total = network(pictures).float().sum()
    total.backward()
    return time.perf_counter() - begin


def _keep_memory() -> None:
    """Keep freed memory: giving it back each step costs more than the arithmetic (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _from_torchrun(name: str, usual: int) -> int:
    text = os.environ.get(name, str(usual))
    if not text.isdecimal():
        raise UsageError(
            f"{name} is {text!r} in the environment; torchrun sets it; otherwise unset it"
        )
    return int(text)
