"""What axe-core finds on a page, as screen readers and keyboards would meet it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe


def violations(page: Any) -> list[tuple[str, str]]:
    """Each rule that the open page breaks, with the first element that breaks it.

    All that is folded is unfolded first. The page's context must bypass its content policy, which
    refuses other scripts.
    """
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found]
