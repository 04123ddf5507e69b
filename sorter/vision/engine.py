"""openvino: its import, its one Core, and networks compiled for this CPU.

A compiled network is kept between starts in the user's cache folder: a broken file there is
rebuilt, an unwritable folder ignored. Must not know of bundles, nor what outputs mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from sorter.errors import BundleError
from sorter.files import write_whole
from sorter.host.cores import usable_cores
from sorter.host.processor import processor
from sorter.text import last_line

KEPT = 8
"""Compiled networks kept in the cache folder; older ones are removed."""

_CONVERTER = "openvino.tools.ovc"
_LOCK = threading.Lock()
_cores: list[Any] = []


def openvino() -> Any:
    """The `openvino` module, without what running a network does not need.

    Its `__init__` also tries to import the model converter, which brings a command line and a
    telemetry client along: 0.12 s of every start, on a box that only runs networks. It goes on
    without where that import fails, as it does for None in `sys.modules`. Code that converts
    imports `openvino.tools.ovc` by name, which works afterwards.
    """
    with _LOCK:
        if "openvino" not in sys.modules and _CONVERTER not in sys.modules:
            # The type says a module; None is what the import system documents for "not there".
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                return _import()
            finally:
                del sys.modules[_CONVERTER]
        return _import()


def core() -> Any:
    """The process's only `openvino.Core`, kept to its end; it may be used from several threads.

    The CPU plugin gives the thread that opens it a stack for signals, and at its end puts back the
    one it found. Two plugins that end in the order they began leave a stack that is freed, and the
    next signal, such as the SIGTERM of a service that took new weights, ends the process with a
    segmentation fault (openvino 2026.4, measured).
    """
    module = openvino()
    with _LOCK:
        if not _cores:
            _cores.append(module.Core())
        return _cores[0]


def default_cache_dir() -> Path | None:
    """`$XDG_CACHE_HOME/sorter`, else `~/.cache/sorter`; None where there is no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named) / "sorter"
    try:
        return Path.home() / ".cache" / "sorter"
    except RuntimeError:
        return None


def compile_network(
    xml: Path,
    *,
    threads: int | None = None,
    streams: int = 1,
    batch: int = 1,
    cache_dir: Path | None = None,
) -> Any:
    """An `openvino.CompiledModel` of `xml` on the CPU. Raises BundleError if it cannot be done.

    The files are read once, into memory: mapped ones would end the process when new weights are
    copied over them, and what the cache is asked for must be what is compiled.
    """
    module = openvino()
    properties = module.properties
    hint = properties.hint
    try:
        parts = xml.read_bytes(), xml.with_suffix(".bin").read_bytes()
    except OSError as error:
        raise BundleError(f"{xml}: cannot be read: {error.strerror or error}") from error
    cores = max(1, threads or usable_cores())
    settings = {
        # Set, not defaulted: openvino takes bf16 where the CPU has it, and the same picture would
        # score differently on two boxes.
        hint.inference_precision: module.Type.f32,
        hint.enable_cpu_pinning: False,
        properties.inference_num_threads: cores,
        properties.num_streams: max(1, streams),
    }
    entry = None
    if cache_dir is not None:
        content = "|".join(hashlib.sha256(part).hexdigest() for part in parts)
        key = f"{content}|{cores}|{streams}|{batch}|{_machine()}"
        entry = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.ovc"
        blob = _read(entry)
        if blob is not None:
            # A blob whose checksum holds was written by us; one that openvino refuses all the
            # same is built again below.
            with contextlib.suppress(Exception):
                return core().import_model(blob, "CPU", settings)
    try:
        model = core().read_model(*parts)
        if batch != model.inputs[0].shape[0]:
            model = _reshaped(model, parts, batch)
        network = core().compile_model(model, "CPU", settings)
    except Exception as error:  # openvino raises RuntimeError and its own kinds
        raise BundleError(f"{xml}: this CPU cannot run it: {last_line(error)}") from error
    if entry is not None:
        with contextlib.suppress(Exception):
            _write(entry, network.export_model())
    return network


def _reshaped(model: Any, parts: tuple[bytes, bytes], batch: int) -> Any:
    """`model` with `batch` pictures per request, or as it was where its graph does not allow it."""
    try:
        model.reshape([batch, *list(model.inputs[0].shape)[1:]])
        if model.outputs[0].shape[0] == batch:
            return model
    except Exception:  # a graph with its batch written into it; one at a time is always right
        pass
    return core().read_model(*parts)


def _machine() -> str:
    """What a compiled network depends on beside itself."""
    flags = " ".join(sorted(processor().flags))
    name = core().get_property("CPU", "FULL_DEVICE_NAME")
    return f"{name}|{flags}|{openvino().get_version()}"


def _import() -> Any:
    import openvino

    return openvino


def _read(entry: Path) -> bytes | None:
    """The blob in a cache file whose own checksum holds, otherwise None."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    digest, blob = content[:32], content[32:]
    if hashlib.sha256(blob).digest() != digest:
        return None
    with contextlib.suppress(OSError):
        os.utime(entry)  # so that the least used goes first
    return blob


def _write(entry: Path, blob: Any) -> None:
    """Put the blob in place whole, then keep the folder small."""
    data = blob if isinstance(blob, bytes) else blob.read()
    folder = entry.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(entry, hashlib.sha256(data).digest() + data, sync=False)
    for old in sorted(folder.glob("*.ovc"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
