"""HTML of the page: everything that is not a tag of ours is escaped. No script; the style is pinned by its hash."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

from consumer.service.logs import visible

#: Between two requests of an open page.
REFRESH_SECONDS = 5

_STYLE = """
:root { color-scheme: light dark; --fg: #1b1f24; --bg: #fff; --dim: #57606a; --line: #d0d7de; --good: #1a7f37;
  --bad: #b42318 }
@media (prefers-color-scheme: dark) { :root { --fg: #e6edf3; --bg: #0d1117; --dim: #9198a1; --line: #30363d;
  --good: #4ac26b; --bad: #ff7b72 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 60rem;
  margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 } a { color: inherit }
.state { font-size: 1.2rem; font-weight: 600; border-left: .4rem solid var(--bad); padding: .3rem .8rem;
  margin: 1rem 0; overflow-wrap: anywhere }
.state.good { border-color: var(--good) }
.dim { color: var(--dim) }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere }
th { font-weight: 600; overflow-wrap: normal } tbody th { font-weight: 400 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } td.n, td span { white-space: nowrap }
td .value { white-space: normal } .changed { font-weight: 600 } .ERROR, .CRITICAL { color: var(--bad) }
nav a { display: inline-block; margin-right: 1rem; padding: .4rem 0 }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: Nothing is loaded, run, sent or framed; the icon is part of the page.
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Raw(str):
    """Markup that is already safe."""

    __slots__ = ()


def escaped(value: object) -> Raw:
    """`value` as text of the page, on one line and with nothing invisible in it; markup of ours as it is."""
    return value if isinstance(value, Raw) else Raw(html.escape(visible(str(value))))


def tag(name: str, content: object, **attributes: str) -> Raw:
    """An element; a trailing underscore of an attribute's name is dropped, as in `class_`."""
    given = "".join(f' {key.rstrip("_")}="{escaped(value)}"' for key, value in attributes.items())
    return Raw(f"<{name}{given}>{escaped(content)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Raw:
    """The parts, one after the other."""
    return Raw(between.join(escaped(part) for part in parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Raw:
    """A table. The first cell of each row is its head; columns whose own head begins with # hold numbers."""
    attributes = [{"class_": "n"} if head.startswith("#") else {} for head in heads]
    head = joined(
        tag("th", name.removeprefix("#"), scope="col", **given) for name, given in zip(heads, attributes, strict=True)
    )
    body = []
    for first, *others in rows:
        cells = [tag("td", cell, **given) for cell, given in zip(others, attributes[1:], strict=True)]
        body.append(tag("tr", joined([tag("th", first, scope="row"), *cells])))
    return tag("table", joined([tag("thead", tag("tr", head)), tag("tbody", joined(body))]))


def document(title: str, is_good: bool, body: Raw) -> bytes:
    """The whole page."""
    icon = (
        "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
        f"%3Ccircle cx='4' cy='4' r='4' fill='{'green' if is_good else 'red'}'/%3E%3C/svg%3E"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escaped(title)}</title><link rel="icon" href="data:image/svg+xml,{icon}">'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    ).encode()
