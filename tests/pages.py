"""The words of an HTML page, as a reader sees them."""

from __future__ import annotations

import html
import re


def words_of(page: str) -> str:
    """What a page says, without its elements and what is in its scripts and styles.

    Spaces at which no line may end are spaces here.
    """
    plain = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    apart = re.sub(r"<br>|</(?:[dhpt][dhtlr1-6]?|div|option|li|label|summary|button)>", "\n", plain)
    return html.unescape(re.sub(r"<[^>]+>", "", apart)).replace("\N{NO-BREAK SPACE}", " ")
