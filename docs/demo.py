"""Run the demo and draw its terminal: `python docs/demo.py` writes docs/pictures/demo.svg.

Every line is real output. Of the outcomes only the first and the last ones are shown.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from consumer.cli import main
from consumer.demo import screen

PICTURE = Path(__file__).parent / "pictures/demo.svg"
WIDTH = 104
#: Outcomes that are shown of the first ones and of the last ones.
FIRST, LAST = 10, 2
TITLE = "make demo"
#: rich's own format loads fonts from elsewhere.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" role="img"
    xmlns="http://www.w3.org/2000/svg" xml:space="preserve">
<title>The terminal of the demo</title>
<style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
    {styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def recorded(run: Callable[[], int]) -> list[str]:
    """The lines of the demo, with their colours as ANSI codes."""
    consoles: list[Console] = []

    def recording(**_: object) -> Console:
        console = Console(highlight=False, width=WIDTH, record=True)
        consoles.append(console)
        return console

    screen.Console = recording
    if code := run():
        sys.exit(code)
    return "".join(console.export_text(styles=True) for console in consoles).splitlines()


def shortened(lines: list[str]) -> list[str]:
    """Without most of the outcomes, and without the status lines between them."""
    plain = [Text.from_ansi(line).plain for line in lines]
    outcomes = [n for n, line in enumerate(plain) if line.startswith(("pos ", "neg ", "dead "))]
    left_out = set(outcomes[FIRST:-LAST]) | {n for n, line in enumerate(plain) if line.startswith("---")}
    kept = [line for n, line in enumerate(lines) if n not in left_out]
    gap = next(n for n, line in enumerate(kept) if line == lines[outcomes[FIRST - 1]]) + 1
    return [*kept[:gap], f"\x1b[2m... {len(outcomes) - FIRST - LAST} more ...\x1b[0m", *kept[gap:]]


def draw(lines: list[str]) -> str:
    """The picture of a terminal with `lines`."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, highlight=False)
        console.print(Text("$ make demo", style="bold"))
        for line in lines:
            console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis")
    # One id, so that a drawing of the same lines is the same file.
    return console.export_svg(title=TITLE, theme=DIMMED_MONOKAI, code_format=FORMAT, unique_id="demo")


if __name__ == "__main__":
    picture = draw(shortened(recorded(lambda: main(["demo"]))))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n", "utf-8")
