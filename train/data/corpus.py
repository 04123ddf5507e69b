"""Labelled folders become numbered examples and one file of decoded pixels.

Owns which pictures take part and the cache of decoded ones. Pictures come through `sorter.dataset`
and `sorter.vision.images` alone, so that training sees what the edge sees. Must not change a
picture (`augment`) and never writes into the data's own folders.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sorter.dataset import layout
from sorter.domain import Taxonomy
from sorter.errors import DataError, FolderError, ImageError
from sorter.files import whole_path
from sorter.text import counted, escape, first_line
from sorter.vision import images
from train.data.backdrops import Backdrops, pack
from train.data.transfer import send
from train.progress import Steps

VAL_SHARE = 0.1
UNKNOWN = -1
"""The label of a picture of none of the classes."""
ROLES = ("train", "val", "test", "extra", "final", "unknown")
TRAINED_ON = ("train", "extra", "final")
"""The roles whose pictures teach the classes."""
_NAMED = 5
"""Pictures that a warning names; their number is always said."""
_GPU_SHARE = 0.4
"""Of a GPU's free memory, that one array of pictures may take."""
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Example:
    """One picture. `role` is one of `ROLES`: test pictures are judged at the end and nothing else,
    final ones are for the last training only, unknown ones are of none of the classes.
    """

    path: Path
    digest: str
    label: int
    source: str
    group: str
    role: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pictures lie; `final` are pictures for the last training, never for folds."""

    data: Path
    extra: tuple[Path, ...] = ()
    final: tuple[Path, ...] = ()
    unknown: tuple[Path, ...] = ()
    groups: Path | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """All examples that could be read, in a fixed order, and the broken ones with the reason."""

    examples: tuple[Example, ...]
    broken: tuple[tuple[Path, str], ...]
    taxonomy: Taxonomy

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class index of each example, `UNKNOWN` for none."""
        return np.array([e.label for e in self.examples], np.int64)

    @property
    def digest(self) -> str:
        """Changes with any picture's content, label or role."""
        lines = sorted(f"{e.role} {e.label} {e.digest}" for e in self.examples)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def rows(self, *roles: str) -> NDArray[np.int64]:
        """The positions of the examples that have one of these roles."""
        return np.array([i for i, e in enumerate(self.examples) if e.role in roles], np.int64)


def gather(sources: Sources, taxonomy: Taxonomy, *, say: Callable[[str], None]) -> Corpus:
    """Find every picture, hash it, check that it decodes, and give it a role.

    A broken picture is said by name and left out; so are classes without a picture, and pictures
    that are in two classes. Raises DataError where nothing can be learnt.
    """
    found: list[tuple[layout.Sample, str]] = []
    labelled = layout.read_labelled(sources.data, taxonomy)
    read = [(sources.data, labelled, "")]
    for folders, role in ((sources.extra, "extra"), (sources.final, "final")):
        read += [(folder, layout.read_extra(folder, taxonomy), role) for folder in folders]
    read += [(folder, layout.read_unknown(folder), "unknown") for folder in sources.unknown]
    for folder, samples, role in read:
        found += [(sample, role or sample.split) for sample in samples]
        if line := layout.note_loose(folder, samples):
            say(line)
    groups = _read_groups(sources.groups) if sources.groups else {}

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        checked = []
        steps = Steps(say, "opening", "pictures")
        for result in pool.map(lambda pair: _check(pair[0].path), found):
            checked.append(result)
            steps.show(len(checked), len(found))
    examples, broken = [], []
    for (sample, role), (digest, reason) in zip(found, checked, strict=True):
        if reason:
            broken.append((sample.path, reason))
            say(f"left out {sample.path.name!r} in {sample.path.parent.name!r}: {reason}")
            continue
        group = sample.group or groups.get(os.path.realpath(sample.path), "") or digest
        examples.append(Example(sample.path, digest, sample.index, sample.source, group, role))
    if broken:
        say(f"{len(broken)} broken pictures left out of {len(found)}")
    if sources.groups:
        _note_unnamed(sources.groups, [s.path for s in labelled], groups, say=say)
    examples = _split(_validated(examples, say=say))
    _refuse_useless(examples, sources.data, taxonomy)
    _warn(examples, taxonomy, say=say)
    return Corpus(tuple(examples), tuple(broken), taxonomy)


class Pixels:
    """Decoded pictures of a corpus, (rows, side, side, 3) uint8 in one memory-mapped file.

    For a GPU they, and their backgrounds, go into its memory whole where they fit; otherwise each
    batch is sent.
    """

    def __init__(self, corpus: Corpus, size_px: int, cache: Path) -> None:
        key = hashlib.sha256(
            "\n".join([f"1 {size_px}", *(e.digest for e in corpus.examples)]).encode()
        ).hexdigest()[:32]
        file = cache / "pixels" / f"{size_px}-{key}.npy"
        if not file.is_file():

            def decode(row: int) -> NDArray[np.uint8]:
                try:
                    return images.load(corpus.examples[row].path, size_px).pixels
                except ImageError as error:
                    path = corpus.examples[row].path
                    raise DataError(f"{path}: changed while it was read: {error}") from error

            _write_rows(file, (len(corpus.examples), size_px, size_px, 3), decode)
        self._open(file)

    @classmethod
    def from_file(cls, file: Path) -> Pixels:
        """Pictures that lie decoded in such a file; their backgrounds go beside it."""
        pixels = cls.__new__(cls)
        pixels._open(file)
        return pixels

    def _open(self, file: Path) -> None:
        self.array: NDArray[np.uint8] = np.load(file, mmap_mode="r")
        self.size_px = self.array.shape[1]
        self._backdrop_file = file.with_name(f"backdrops-1-{file.name}")
        self._whole: dict[str, Tensor] = {}

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies of these rows."""
        return np.ascontiguousarray(self.array[rows])

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        """These rows, (n, side, side, 3) uint8 on `device`."""
        return self._rows("pictures", self.array, rows, device)

    def backdrops(self, rows: NDArray[np.int64], device: torch.device) -> Backdrops:
        """Where these rows show a background of one colour; the first call looks for all."""
        bits, there = self._backdrops
        return Backdrops(self._rows("bits", bits, rows, device), there[rows], self.size_px)

    @cached_property
    def _backdrops(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        shape = (len(self.array), -(-(self.size_px**2) // 8))
        if not self._backdrop_file.is_file():
            _write_rows(self._backdrop_file, shape, lambda row: pack(self.array[row]))
        bits = np.load(self._backdrop_file, mmap_mode="r")
        return bits, bits.any(1)

    def _rows(
        self, name: str, array: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
    ) -> Tensor:
        if device.type == "cpu":
            return torch.from_numpy(np.ascontiguousarray(array[rows]))
        if name not in self._whole:
            free, _ = torch.cuda.mem_get_info(device)
            if array.nbytes > _GPU_SHARE * free:
                return send(np.ascontiguousarray(array[rows]), device)
            whole = torch.empty(array.shape, dtype=torch.uint8, device=device)
            for at in range(0, len(array), _ROWS_AT_ONCE):
                part = torch.from_numpy(np.array(array[at : at + _ROWS_AT_ONCE]))
                whole[at : at + _ROWS_AT_ONCE].copy_(part)
            self._whole[name] = whole
        return self._whole[name].index_select(0, send(rows, device))


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/sorter`, else `~/.cache/sorter`, else a folder for temporary files."""
    from sorter.vision.engine import default_cache_dir

    return default_cache_dir() or Path(tempfile.gettempdir()) / "sorter-cache"


def _check(path: Path) -> tuple[str, str]:
    """The content's SHA-256 and, for a picture that is not whole, why."""
    try:
        data = images.read(path)
        images.decode(data, 32)
    except ImageError as error:
        return "", str(error)
    return hashlib.sha256(data).hexdigest(), ""


def _read_groups(file: Path) -> dict[str, str]:
    """Real path → group; paths in the file are relative to its folder."""
    return {
        os.path.realpath(file.parent / path): group
        for path, group in layout.read_groups(file).items()
    }


def _note_unnamed(
    file: Path, paths: Sequence[Path], groups: dict[str, str], *, say: Callable[[str], None]
) -> None:
    """A groups file of other folders would split photographs unseen. Raises DataError."""
    unnamed = sum(os.path.realpath(path) not in groups for path in paths)
    if unnamed == len(paths):
        raise DataError(
            f"{file}: names none of DATA's pictures; its paths are relative to its own folder "
            "(sorter data check writes one)"
        )
    if unnamed:
        say(
            f"warning: {unnamed} of DATA's {len(paths)} pictures are not in {file.name}: each "
            "counts as a photograph of its own"
        )


def _validated(examples: list[Example], *, say: Callable[[str], None]) -> list[Example]:
    """Where DATA has a test split and no val, the test split is the one to validate on."""
    roles = {e.role for e in examples}
    if "test" not in roles or "val" in roles:
        return examples
    say("no val/ beside test/: its pictures are validated on, so they choose weights too")
    return [replace(e, role="val") if e.role == "test" else e for e in examples]


def _split(examples: list[Example]) -> list[Example]:
    """Give DATA without splits one that content decides, class by class.

    Each class gives the tenth of its groups whose hash is lowest, at least one where it has four.
    """
    if all(e.role for e in examples):
        return examples
    held: set[tuple[int, str]] = set()
    for label in sorted({e.label for e in examples if not e.role}):
        groups = {e.group for e in examples if not e.role and e.label == label}
        order = sorted(groups, key=lambda g: hashlib.sha256(g.encode()).hexdigest())
        count = max(round(len(order) * VAL_SHARE), 1 if len(order) >= 4 else 0)
        held |= {(label, group) for group in order[:count]}
    return [
        e if e.role else replace(e, role="val" if (e.label, e.group) in held else "train")
        for e in examples
    ]


def _refuse_useless(examples: Sequence[Example], root: Path, taxonomy: Taxonomy) -> None:
    have = {e.label for e in examples if e.role in TRAINED_ON}
    if not any(e.role == "train" for e in examples):
        raise DataError(
            f"{root}: no picture to train on; expected DATA/train/<class>/ or DATA/<class>/"
        )
    if len(have) < 2:
        raise DataError(f"{root}: pictures of one class only; nothing can be told apart")
    for split in layout.HELD_OUT:
        for label in sorted({e.label for e in examples if e.role == split} - have):
            category = taxonomy.categories[label]
            name = f"{category.code} ({category.name})"
            raise DataError(f"{root}: class {name} is in {split} and missing in train")


def _warn(examples: Sequence[Example], taxonomy: Taxonomy, *, say: Callable[[str], None]) -> None:
    """Name the classes that nothing teaches, and the pictures that teach two of them."""
    have = {e.label for e in examples if e.role in TRAINED_ON}
    lacking = [c for n, c in enumerate(taxonomy.categories) if n not in have]
    if lacking:
        names = ", ".join(f"{category.code} ({category.name})" for category in lacking)
        classes = counted(len(lacking), "class")
        say(f"warning: no picture of {classes}, which cannot be learnt: {names}")
    by_content: dict[str, list[Example]] = {}
    for e in examples:
        by_content.setdefault(e.digest, []).append(e)
    torn = [same for same in by_content.values() if len({e.label for e in same}) > 1]
    if torn:
        are = "is" if len(torn) == 1 else "are"
        say(
            f"warning: {counted(len(torn), 'picture')} {are} in two classes, one of which is wrong:"
        )
    for same in torn[:_NAMED]:
        first = same[0]
        other = next(e for e in same if e.label != first.label)
        say(f"  {escape(str(first.path))} and {escape(str(other.path))}")
    if len(torn) > _NAMED:
        say(f"  and {len(torn) - _NAMED} more; sorter data check names them all")


def _write_rows(
    file: Path, shape: tuple[int, ...], make: Callable[[int], NDArray[np.uint8]]
) -> None:
    """A uint8 array with the rows that `make` gives, written whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_path(file, option="--cache", sync=False) as part:
            array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            with part.open("r+b") as stream:
                # Writing to a map of a file with holes on a full disk would kill the process.
                os.posix_fallocate(stream.fileno(), 0, part.stat().st_size)

            def fill(row: int) -> None:
                array[row] = make(row)

            with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
                list(pool.map(fill, range(shape[0])))
            array.flush()
    except (OSError, FolderError) as error:
        raise DataError(
            f"{file.parent}: cannot keep decoded pictures ({first_line(error)}); "
            "name another --cache"
        ) from error
