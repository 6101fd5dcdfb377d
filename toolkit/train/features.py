"""What a frozen backbone makes of every picture: computed once, kept by digest, shared by all heads and epochs.

With the backbone frozen and no augmentation its output for a picture never changes, so a head trained on these features
is the head that training through the backbone gives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit import digests
from toolkit.progress import Progress
from toolkit.train.fit import Answer


def features_of(
    answer: Answer, pictures: np.ndarray, path: Path, *, batch_size: int, title: str, progress: Progress
) -> np.ndarray:
    """Pooled features f32 [n, channels] of pictures u8 [n, h, w, 3], read from `path` or computed and kept there."""
    if path.is_file():
        kept: np.ndarray = np.load(path, allow_pickle=False)
        return kept
    chunks = []
    with progress.track(title, len(pictures)) as task:
        for start in range(0, len(pictures), batch_size):
            chunk = pictures[start : start + batch_size]
            chunks.append(answer(chunk, batch_size))
            task.advance(len(chunk))
    features = np.concatenate(chunks)
    with digests.written_whole(path) as stream:
        np.save(stream, features)
    return features
