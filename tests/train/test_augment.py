"""Changed pictures: repeatable, still pictures, and changed in the way that each setting says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simplejpeg

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from train.config import Config, make_config  # noqa: E402
from train.data.augment import _Chance, _jpeg, augment  # noqa: E402
from train.data.backdrops import Backdrops, pack  # noqa: E402
from train.data.sampling import random_stream  # noqa: E402
from train.fit.targets import make_targets, mix  # noqa: E402

STILL = {
    "crop_min": 1.0,
    **dict.fromkeys(("rotate_deg", "flip_vertical", "colour", "hue", "grey"), 0.0),
    **dict.fromkeys(("blur", "jpeg", "noise", "erase", "backdrop"), 0.0),
}
"""Nothing but a stretch and a mirror."""
ALL = ("blur", "jpeg", "noise", "erase", "backdrop", "grey")
NEW = ("perspective", "elastic", "white_balance", "low_res", "paste")


def on_white(count: int, side: int = 64) -> tuple[Tensor, Backdrops]:
    """Red squares in the middle of white, and where the white is."""
    pixels = np.full((count, side, side, 3), 255, np.uint8)
    pixels[:, side // 4 : -side // 4, side // 4 : -side // 4] = (200, 30, 30)
    bits = np.stack([pack(p) for p in pixels])
    return torch.from_numpy(pixels), Backdrops(torch.from_numpy(bits), bits.max(1) > 0, side)


def change(pixels: Tensor, config: Config, *key: int, **more: Any) -> Tensor:
    return augment(pixels, 32, config, random_stream(*key), **more)


@pytest.mark.parametrize("kind", ["strong", "light", "paper", "none"])
def test_it_is_repeatable_and_stays_a_picture(kind: str) -> None:
    pixels, backdrops = on_white(6)
    config = make_config({"augment": kind, **dict.fromkeys((*ALL, *NEW), 1.0), "paste": 0.5})
    unknown = np.array([False] * 4 + [True] * 2)
    before = pixels.clone()
    first, again, other = (
        change(pixels, config, 0, 3, 1, n, backdrops=backdrops, unknown=unknown) for n in (2, 2, 3)
    )
    assert first.shape == (6, 3, 32, 32) and torch.equal(first, again)
    assert float(first.min()) >= 0 and float(first.max()) <= 255.5
    assert torch.equal(first, other) == (kind == "none")
    assert torch.equal(pixels, before), "the store keeps its own"


@pytest.mark.parametrize("name", [*ALL, *NEW])
def test_each_setting_changes_its_share_of_the_pictures(name: str) -> None:
    pixels, backdrops = on_white(60)
    pixels[:, ::3] //= 2  # something to see for what filters
    none, some, every = (
        change(pixels, make_config({**STILL, name: share}), 5, backdrops=backdrops)
        for share in (0.0, 0.3, 1.0)
    )
    # The first draws are the same; a share only decides who is changed.
    moved = change(pixels, make_config(STILL), 5, backdrops=backdrops)
    assert torch.equal(none, moved)
    assert torch.isfinite(every).all()
    if name in ("blur", "noise", "erase"):  # nothing is drawn after these at share 0
        changed = ((some - none).abs().amax((1, 2, 3)) > 1.0).float().mean()
        assert 0.1 < float(changed) < 0.5
    assert float(((every - none).abs().amax((1, 2, 3)) > 1.0).float().mean()) > 0.8


def test_a_backdrop_is_replaced_and_the_item_stays() -> None:
    pixels, backdrops = on_white(40)
    assert backdrops.there.all()
    mask = backdrops.masks(torch.tensor([0, 3]))
    assert mask.shape == (2, 1, 64, 64)
    assert torch.equal(mask[0, 0] > 0.5, (pixels[0] == 255).all(2))
    config = make_config({**STILL, "backdrop": 1.0})
    changed = change(pixels, config, 1, backdrops=backdrops)
    middle, edge = changed[:, :, 14:18, 14:18], changed[:, :, :2]
    assert float((middle - torch.tensor([200.0, 30, 30]).view(3, 1, 1)).abs().max()) < 3
    assert float(edge.mean((1, 2, 3)).std()) > 20, "as many surfaces as pictures"


def test_a_picture_of_many_colours_has_no_backdrop() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (36, 36, 3), np.uint8)
    bits = pack(noise)
    assert bits.shape == (162,) and not bits.any()


def test_a_pasted_item_is_smaller_and_lies_on_a_picture_of_no_class() -> None:
    pixels, backdrops = on_white(80)
    pixels[40:] = torch.tensor([10, 20, 240], dtype=torch.uint8)
    there = backdrops.there.copy()
    there[40:] = False
    known = Backdrops(backdrops.bits, there, backdrops.side)
    unknown = np.arange(80) >= 40
    config = make_config({**STILL, "paste": 1.0})
    changed = change(pixels, config, 4, backdrops=known, unknown=unknown)
    red = ((changed[:, 0] > 150) & (changed[:, 1] < 80)).float().mean((1, 2))
    assert float(red[40:].max()) == 0.0, "pictures of no class stay as they are"
    assert float((red[:40] > 0.01).float().mean()) > 0.8
    assert float(red[:40].mean()) < 0.22, "a quarter of the picture before"
    blue = ((changed[:40, 2] > 200) & (changed[:40, 0] < 60)).float().mean((1, 2)) > 0.3
    assert 0.2 < float(blue.float().mean()) < 0.8


@pytest.mark.parametrize("quality", [25, 50, 84])
def test_jpeg_is_that_of_libjpeg(quality: int) -> None:
    stream = np.random.default_rng(0)
    rough = stream.integers(0, 255, (1, 3, 9, 9)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(rough), size=64, mode="bicubic")
    picture = smooth.clamp(0, 255).round()
    chance = _Chance(random_stream(0), 1, torch.device("cpu"))
    ours = _jpeg(picture, np.array([quality]), chance)[0].permute(1, 2, 0)
    plain = np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy().astype(np.uint8))
    theirs = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(plain, quality=quality))
    apart = (ours - torch.from_numpy(theirs.astype(np.float32))).abs().mean()
    lost = (ours - torch.from_numpy(plain.astype(np.float32))).abs().mean()
    assert float(apart) < 0.6 * float(lost), "libjpeg also rounds between its steps"
    odd = _jpeg(picture[:, :, :61, :59], np.array([quality]), chance)
    assert odd.shape == (1, 3, 61, 59)


class Waits(TorchDispatchMode):
    """Counts operations whose result, or its shape, the host must wait for on a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(n in name for n in ("_local_scalar", "nonzero", "masked_select", "unique", "equal")):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_nothing_in_it_waits_for_a_device() -> None:
    pixels, backdrops = on_white(8)
    config = make_config({**dict.fromkeys((*ALL, *NEW), 0.6), "mixup": 0.2})
    unknown = np.array([False] * 6 + [True] * 2)
    targets = make_targets(np.zeros(8, np.int64), 3, config)
    with Waits() as seen:
        for key in range(4):
            batch = change(pixels, config, key, backdrops=backdrops, unknown=unknown)
            mix(batch, targets, config, random_stream(key))
    assert seen.names == []
    with Waits() as seen:
        float(torch.ones(()))
    assert seen.names != [], "this test can fail"
