"""Many files become Outcomes on a Ray cluster: one compiled model an actor, rows in input order.

The same seam as `batch.classify`. Ray Data moves the paths, starts the actors, and runs again
what a lost worker had in hand; nothing of that is done here. Pictures are read where they are
classified, so that a file that cannot be read is a row and not the end of the job; local paths
must mean the same on every node. The listing alone is held in Ray's object store.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sorter.distributed import urls
from sorter.domain import Outcome, Policy
from sorter.errors import EnvironmentFault, MissingExtraError, ModelError
from sorter.host.cores import usable_cores
from sorter.text import last_line
from sorter.vision import images
from sorter.vision.batch import classify_one
from sorter.vision.bundle import MODEL_FILES, Bundle, open_bundle
from sorter.vision.engine import default_cache_dir
from sorter.vision.model import Classifier

BLOCK = 256
"""Pictures an actor is handed at a time, at most; what is run again when a worker is lost."""

ROWS = 1 << 16
"""Rows of the listing that are Python objects at a time."""

T = TypeVar("T")


def classify(
    items: Iterable[Path | T],
    bundle: Bundle,
    *,
    precision: str = "int8",
    policy: Policy | None = None,
    jobs: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    thumbnails: bool = False,
) -> Generator[Outcome | T, None, None]:
    """One Outcome for each Path of `items`, in order; anything else passes through in its place.

    The Addresses among them are those that `urls.find` gave. `jobs` is the number of actors, a
    core each, default all of the cluster's. Joins the cluster that `RAY_ADDRESS` or `ray start`
    names, otherwise starts one on this machine for the time being. Raises MissingExtraError without
    Ray, EnvironmentFault where the cluster gives up.
    """
    ray = require()
    with _cluster(ray, jobs), tempfile.TemporaryFile(prefix="sorter-") as kept:
        passed, table, sources = _listing(items, kept)
        kept.seek(0)
        place = _next(kept) if passed else None
        actors = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        job = _Job(
            weights=ray.put(_files(bundle)),
            digest=bundle.digest,
            precision=precision,
            policy=policy or bundle.policy,
            max_pixels=max_pixels,
            thumbnails=thumbnails,
            sources=sources,
        )
        for done, outcome in enumerate(_run(ray, table, job, actors)):
            while place is not None and place[0] == done:
                yield place[1]
                place = _next(kept)
            yield outcome
        while place is not None:
            yield place[1]
            place = _next(kept)


@dataclass(frozen=True, slots=True)
class _Job:
    """What every actor is told; small, for it travels with each. `weights` is Ray's reference."""

    weights: Any
    digest: str
    precision: str
    policy: Policy
    max_pixels: int
    thumbnails: bool
    sources: list[urls.Source]


class _Worker:
    """One actor: a bundle from the object store, compiled once, for one core."""

    def __init__(self, job: _Job) -> None:
        import ray

        self._job = job
        files: Mapping[str, bytes] = ray.get(job.weights)
        with tempfile.TemporaryDirectory(prefix="sorter-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self._bundle = open_bundle(Path(folder))
            if self._bundle.digest != job.digest:
                raise ModelError("the model was changed while it was being read")
            self._classifier = Classifier(
                self._bundle, precision=job.precision, threads=1, cache_dir=default_cache_dir()
            )

    def __call__(self, batch: Any) -> Any:
        import pyarrow

        columns = (batch.column(name).to_pylist() for name in ("path", "place", "source"))
        rows = [pickle.dumps(self._outcome(*row)) for row in zip(*columns, strict=True)]
        return pyarrow.table({"outcome": pyarrow.array(rows, pyarrow.large_binary())})

    def _outcome(self, name: bytes, place: str, source: int) -> Outcome:
        job, size_px = self._job, self._bundle.size_px
        path = Path(os.fsdecode(name)) if source < 0 else urls.address(os.fsdecode(name))

        def opened() -> images.DecodedPicture:
            if source < 0:
                return images.load(path, size_px, max_pixels=job.max_pixels)
            data = urls.read(job.sources[source].files, place)
            return images.decode(data, size_px, max_pixels=job.max_pixels)

        return classify_one(
            path,
            opened,
            self._classifier,
            self._bundle,
            job.policy,
            thumbnails=job.thumbnails,
        )


def require() -> Any:
    """Ray itself. Raises MissingExtraError, which says how to install it."""
    try:
        import pyarrow  # noqa: F401
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs Ray, which is not installed: pip install 'sorter[ray]'"
        ) from error
    return ray


@contextmanager
def _cluster(ray: Any, jobs: int | None) -> Generator[None, None, None]:
    """A cluster to work on: one that is joined already, one that is running, or a new local one."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Notices that Ray prints to stderr of what it does itself; what goes wrong is raised.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    named = os.environ.get("RAY_ADDRESS", "")
    try:
        if named:
            _knock(named)
        ray.init(address=named or "auto", **quiet)
    except OSError as error:
        if named:
            # A cluster of `ray start` asks for a token, which Ray itself sends only if told to.
            raise EnvironmentFault(
                f"no Ray cluster at RAY_ADDRESS {named}: {error}; start one there, or set "
                "RAY_AUTH_MODE=token if it wants a token"
            ) from error
        ray.init(address="local", num_cpus=jobs or usable_cores(), include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _knock(named: str) -> None:
    """Raise OSError if nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = named.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _listing(items: Iterable[Path | T], kept: Any) -> tuple[int, Any, list[urls.Source]]:
    """Paths as a table; what is not a path goes to the file `kept`, with its place; the sources.

    A table of bytes, because a million Path objects would be ten times as large.
    """
    import pyarrow

    schema = pyarrow.schema(
        [("path", pyarrow.binary()), ("place", pyarrow.string()), ("source", pyarrow.int32())]
    )
    sources: list[urls.Source] = []
    batches: list[Any] = []
    names: list[bytes] = []
    places: list[str] = []
    numbers: list[int] = []
    passed = count = 0

    def close() -> None:
        arrays = [
            pyarrow.array(column, field.type)
            for column, field in zip((names, places, numbers), schema, strict=True)
        ]
        batches.append(pyarrow.record_batch(arrays, schema=schema))
        names.clear()
        places.clear()
        numbers.clear()

    for item in items:
        if not isinstance(item, Path):
            pickle.dump((count, item), kept)
            passed += 1
            continue
        place, number = "", -1
        if isinstance(item, urls.Address) and item.source is not None:
            place = item.place
            if not sources or sources[-1] is not item.source:
                sources.append(item.source)
            number = len(sources) - 1
        names.append(os.fsencode(item))
        places.append(place)
        numbers.append(number)
        count += 1
        if len(names) == ROWS:
            close()
    close()
    return passed, pyarrow.Table.from_batches(batches, schema), sources


def _run(ray: Any, table: Any, job: _Job, actors: int) -> Generator[Outcome, None, None]:
    """Outcomes of the rows of `table`, in order, as the actors give them back."""
    if not table.num_rows:
        return
    size = min(BLOCK, max(1, table.num_rows // (4 * actors)))
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # the command has its own
    data = ray.data.from_arrow(blocks)
    data.context.execution_options.preserve_order = True
    data = data.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
    )
    try:
        for batch in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.column("outcome"):
                yield pickle.loads(row.as_py())
    except ray.exceptions.RayError as error:
        raise EnvironmentFault(f"the Ray cluster gave up: {last_line(error)}") from error


def _files(bundle: Bundle) -> dict[str, bytes]:
    """A bundle's networks, for nodes that do not have its folder."""
    wanted = [bundle.path / MODEL_FILES[precision] for precision in bundle.precisions]
    return {
        file.name: file.read_bytes() for xml in wanted for file in (xml, xml.with_suffix(".bin"))
    }


def _next(kept: Any) -> tuple[int, Any] | None:
    try:
        entry: tuple[int, Any] = pickle.load(kept)
    except EOFError:
        return None
    return entry
