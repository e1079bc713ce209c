"""An explanation as a page for a browser, and as JSON for programs."""

import html
import json
from dataclasses import asdict

from rich.console import Console

from consumer.model.explain import Explanation, Part
from consumer.tools.label.explanation import headline, pieces

_STYLE = """
body { font: 17px/1.6 system-ui, sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff }
.text { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ddd; border-radius: 6px; padding: 1em }
mark { color: inherit; border-radius: 3px; padding: 0 2px }
.against { text-decoration: underline dotted }
.unread { color: #767676 }
td { padding: 0 1em 0 0 }
td:first-child { text-align: right; font-variant-numeric: tabular-nums }
"""


class Terminal(Console):
    """A console that leaves the handling of a closed pipe to the program."""

    def on_broken_pipe(self) -> None:
        """Raise what rich would turn into an exit."""
        raise BrokenPipeError


def as_json(explanation: Explanation) -> str:
    """One JSON object; offsets count characters of its `text`."""
    return json.dumps(asdict(explanation))


def as_html(explanation: Explanation, model: str) -> str:
    """A page that needs nothing else; `model` is the name of the bundle."""
    largest = max((abs(part.weight) for part in explanation.parts), default=0.0)
    body = "".join(_html_piece(piece, part, largest) for piece, part in pieces(explanation))
    rows = "".join(
        f"<tr><td>{part.weight:+.3f}</td><td>{html.escape(part.words)}</td></tr>" for part in explanation.top()
    )
    unread = ' &nbsp;\n<span class="unread">was not read</span>' if explanation.truncated else ""
    label, name = html.escape(explanation.label), html.escape(model)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Why {label}?</title>
<meta name="viewport" content="width=device-width">
<style>{_STYLE}</style></head><body>
<h1>Why {label}?</h1>
<p>{name}: {html.escape(headline(explanation))}.</p>
<p><mark style="background:{_colour(1, 1)}">carried the label</mark> &nbsp;
<mark class="against" style="background:{_colour(-1, 1)}">spoke against it</mark>{unread}</p>
<div class="text">{body}</div>
<h2>Words that weigh most</h2>
<p>Weight: what the words add to the log-odds of {label}.</p>
<table>{rows or "<tr><td></td><td>no word stands out</td></tr>"}</table>
</body></html>
"""


def _html_piece(piece: str, part: Part | None, largest: float) -> str:
    if part is not None and not part.read:
        return f'<span class="unread">{html.escape(piece)}</span>'
    if part is None or not part.marked:
        return html.escape(piece)
    against = ' class="against"' if part.weight < 0 else ""
    colour = _colour(part.weight, largest)
    return f'<mark{against} style="background:{colour}" title="{part.weight:+.3f}">{html.escape(piece)}</mark>'


def _colour(weight: float, largest: float) -> str:
    """Blue for, orange against (colour-blind readers can tell them apart); the heavier, the fuller."""
    red, green, blue = (86, 160, 233) if weight > 0 else (230, 140, 0)
    return f"rgba({red},{green},{blue},{0.2 + 0.7 * abs(weight) / largest:.2f})"
