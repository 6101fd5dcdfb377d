"""Splits of data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A data set divided into train, validation and test; `digest` covers every image's bytes, label and part."""

    digest: str
    name: str
    note: str = ""
    """What a reader of any figure made from it must know, such as "synthetic masks"; shown wherever one is."""
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    """Images per part and label: counts["train"]["with_mask"]."""
    path: str
    """The split manifest: JSON lines, one image each."""
    images: Mapping[str, int] = field(default_factory=dict)
    """Images per part where one may have several labels, or none; empty where each has one."""

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels, or none."""
        return bool(self.images)

    def size(self, part: str) -> int:
        """Images of a part."""
        return self.images[part] if self.multi_label else sum(self.counts.get(part, {}).values())
