"""The app as a reverse proxy under a prefix, such as /cam/, passes requests on."""

from __future__ import annotations

import re
from pathlib import Path

from .conftest import TOKEN, Serve

FORM = {"Content_Type": "application/x-www-form-urlencoded", "Origin": "https://cams.example"}


def test_login_behind_a_proxy_leads_back_to_its_prefix(serve: Serve, root: Path, token_file: Path) -> None:
    app = serve(root / "current", "--source", "none", "--token-file", token_file)
    form = f"token={TOKEN}".encode()
    refused = app.ask("/login", "POST", form, host="10.0.0.1", **FORM)
    own = app.ask("/login", "POST", form, host="10.0.0.1", X_Forwarded_Host="cams.example", **FORM)
    assert (refused.status, own.status, own.headers["location"]) == (403, 303, "./")
    session = own.headers["set-cookie"].partition(";")[0]
    page = app.ask("/", host="10.0.0.1", X_Forwarded_Host="cams.example", Cookie=session)
    assert page.status == 200
    assert re.findall(rb'(?:href|src|action)="/|(?:fetch|EventSource)\("/', page.body) == []
    assert app.end()[0] == 0
