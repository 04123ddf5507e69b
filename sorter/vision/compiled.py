"""The network compiled for this CPU, kept between starts in the user's cache folder.

Owns the cache file: a broken one is rebuilt, an unwritable one ignored. Must not know what the
network's outputs mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from sorter.errors import BundleError
from sorter.host.cores import usable_cores
from sorter.vision import runtime

KEPT = 8
"""Compiled networks kept in the cache folder; older ones are removed."""


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
    openvino = runtime.load()
    properties = openvino.properties
    hint = properties.hint

    try:
        parts = xml.read_bytes(), xml.with_suffix(".bin").read_bytes()
    except OSError as error:
        raise BundleError(f"{xml}: cannot be read: {error.strerror or error}") from error
    core = runtime.core()
    cores = max(1, threads or usable_cores())
    settings = {
        # Set, not defaulted: openvino takes bf16 where the CPU has it, and the same picture would
        # score differently on two boxes.
        hint.inference_precision: openvino.Type.f32,
        hint.enable_cpu_pinning: False,
        properties.inference_num_threads: cores,
        properties.num_streams: max(1, streams),
    }
    entry = None
    if cache_dir is not None:
        content = "|".join(hashlib.sha256(part).hexdigest() for part in parts)
        key = f"{content}|{cores}|{streams}|{batch}|{_machine(core, openvino)}"
        entry = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.ovc"
        blob = _read(entry)
        if blob is not None:
            # A blob whose checksum holds was written by us; one that openvino refuses all the
            # same is built again below.
            with contextlib.suppress(Exception):
                return core.import_model(blob, "CPU", settings)
    try:
        model = core.read_model(*parts)
        if batch != model.inputs[0].shape[0]:
            model = _reshaped(core, model, parts, batch)
        network = core.compile_model(model, "CPU", settings)
    except Exception as error:  # openvino raises RuntimeError and its own kinds
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise BundleError(f"{xml}: this CPU cannot run it: {last[0][:200]}") from error
    if entry is not None:
        with contextlib.suppress(Exception):
            _write(entry, network.export_model())
    return network


def _reshaped(core: Any, model: Any, parts: tuple[bytes, bytes], batch: int) -> Any:
    """`model` with `batch` pictures a request, or as it was where its graph does not allow it."""
    try:
        model.reshape([batch, *list(model.inputs[0].shape)[1:]])
        if model.outputs[0].shape[0] == batch:
            return model
    except Exception:  # a graph with its batch written into it; one at a time is always right
        pass
    return core.read_model(*parts)


def _machine(core: Any, openvino: Any) -> str:
    """What a compiled network depends on beside itself."""
    flags = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                flags = line
                break
    name = core.get_property("CPU", "FULL_DEVICE_NAME")
    return f"{name}|{flags}|{openvino.get_version()}"


def _read(entry: Path) -> bytes | None:
    """The blob in a cache file whose own checksum holds, else None."""
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
    handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(hashlib.sha256(data).digest())
            stream.write(data)
        Path(name).replace(entry)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    for old in sorted(folder.glob("*.ovc"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
