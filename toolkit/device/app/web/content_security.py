"""The Content-Security-Policy of a page that is one file with its own style and script."""

from __future__ import annotations

import base64
import hashlib
import re


def csp_header(page: str, form_action: str = "'none'") -> str:
    """Return a policy that allows only the page's script and style, by digest, and images and requests of its server.

    `form_action` says where its forms may be sent.
    """
    hashes = {
        kind: " ".join(f"'sha256-{_digest(part)}'" for part in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL))
        or "'none'"
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src 'self' data:; "
        f"connect-src 'self'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
