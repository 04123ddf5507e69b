"""The resize is the integer arithmetic that it says, on whatever processor this runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sorter.vision.images import blocks, to_square

SIDE = 56


def taps(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The left neighbour of each of SIDE places on `count` pixels, and the right one's weight."""
    at = np.clip((np.arange(SIDE) + 0.5) * (count / SIDE) - 0.5, 0, count - 1)
    left = np.minimum(np.floor(at), count - 2).astype(np.int64)
    return left, np.asarray(np.floor((at - left) * 16384 + 0.5), np.int64)


def blended(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Four neighbours with weights of 14 bits, rounded once."""
    (y, weights_y), (x, weights_x) = taps(pixels.shape[0]), taps(pixels.shape[1])
    down, right = weights_y[:, None, None], weights_x[None, :, None]
    wide = pixels.astype(np.int64)
    upper = wide[y][:, x] * (16384 - right) + wide[y][:, x + 1] * right
    lower = wide[y + 1][:, x] * (16384 - right) + wide[y + 1][:, x + 1] * right
    return np.asarray(upper * (16384 - down) + lower * down + (1 << 27), np.int64) >> 28


@pytest.mark.parametrize("size", [(75, 57), (57, 75), (111, 111), (2, 3), (56, 56), (56, 90)])
def test_below_a_ratio_of_two_four_neighbours_are_blended(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    assert (to_square(pixels, SIDE) == blended(pixels)).all()


def test_above_it_whole_blocks_are_averaged_first() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (3 * 60, 2 * 80, 3), np.uint8)
    assert blocks(160, 180, SIDE) == (2, 3)
    averaged = np.asarray(Image.fromarray(pixels).reduce((2, 3)))
    assert np.abs(averaged - pixels.reshape(60, 3, 80, 2, 3).mean((1, 3))).max() <= 0.5
    assert (to_square(pixels, SIDE) == blended(averaged)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (112, 112), (28, 28), (1000, 3)])
def test_any_size_becomes_the_square_and_a_flat_colour_stays(size: tuple[int, int]) -> None:
    flat = np.full((*size, 3), (200, 7, 255), np.uint8)
    square = to_square(flat, SIDE)
    assert square.shape == (SIDE, SIDE, 3)
    assert (square == (200, 7, 255)).all()
