"""Choices that several commands offer; those of one command stand beside it."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Which of a bundle's networks to run."""

    INT8 = "int8"
    FP16 = "fp16"


class Language(StrEnum):
    """Which names of classes and bins to show."""

    EN = "en"
    ZH = "zh"
