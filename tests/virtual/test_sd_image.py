"""An SD card image. The tier `pi` builds one and boots it."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.progress import Silent
from toolkit.virtual.sd_image import write_sd_image


@pytest.mark.parametrize(("name", "user"), [("Kitchen", "pi"), ("kitchen", "root of"), ("-x", "pi"), ("ä", "pi")])
def test_wrong_names_are_refused_before_anything_is_done(tmp_path: Path, name: str, user: str) -> None:
    with pytest.raises(UsageError, match=r"is not a (host|user) name"):
        write_sd_image(name, (), tmp_path / "card.img", Silent(), user=user)
    assert not list(tmp_path.iterdir())
