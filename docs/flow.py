"""Draw the flow of a review: `python docs/flow.py` writes docs/pictures/flow.svg, readable on light and dark pages."""

from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).parent / "pictures/flow.svg"
WIDTH, HEIGHT = 960, 396
#: Colours follow the reader's mode; a viewer that knows no modes shows the light ones.
STYLE = """\
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  text { fill: #1f2328; text-anchor: middle }
  .name { font-size: 15px; font-weight: 600 }
  .step-name { font-size: 13px }
  .note { font-size: 12.5px; fill: #57606a }
  .topic { fill: #ddf4ff; stroke: #218bff }
  .part { fill: #f6f8fa; stroke: #8c959f }
  .worker { fill: #dafbe1; stroke: #2da44e }
  .step { fill: #ffffff; stroke: #2da44e }
  .bad { fill: #fff1e5; stroke: #e16f24 }
  .together { fill: none; stroke: #8250df; stroke-width: 1.5; stroke-dasharray: 6 5 }
  .together-name { font-size: 13px; font-weight: 600; fill: #8250df }
  .arrow { stroke: #6e7781; stroke-width: 1.6; fill: none; marker-end: url(#head) }
  #head path { fill: #6e7781 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9da7b3 }
    .topic { fill: #0c2d6b; stroke: #58a6ff }
    .part { fill: #21262d; stroke: #8b949e }
    .worker { fill: #04260f; stroke: #3fb950 }
    .step { fill: #0f3d1d; stroke: #3fb950 }
    .bad { fill: #3d1300; stroke: #f0883e }
    .together { stroke: #bc8cff }
    .together-name { fill: #bc8cff }
    .arrow { stroke: #9da7b3 }
    #head path { fill: #9da7b3 }
  }"""


def text(x: float, y: float, words: str, kind: str) -> str:
    """`words` centred on x."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def box(kind: str, x: float, y: float, width: float, height: float, *lines: str) -> str:
    """A rounded box; its first line is its name, the others are notes."""
    middle, top = x + width / 2, y + height / 2 + 5 - 9 * (len(lines) - 1)
    words = [text(middle, top + 18 * n, line, "note" if n else "name") for n, line in enumerate(lines)]
    shape = f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
    return "\n".join([shape, *words])


def arrow(*points: tuple[float, float]) -> str:
    """A line through `points` with a head at the last one."""
    return f'<path class="arrow" d="M {" L ".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def flow() -> str:
    """The whole picture."""
    steps = ("poll", "parse", "tokenise", "batch", "infer")
    parts = [
        # From a spreadsheet to the model.
        box("part", 20, 20, 150, 56, "spreadsheet", "labelled reviews"),
        arrow((170, 48), (198, 48)),
        box("part", 200, 20, 150, 56, "review-training", "fit, distil"),
        arrow((350, 48), (378, 48)),
        box("part", 380, 20, 210, 56, "bundle", "model, checksums, golden texts"),
        arrow((485, 76), (485, 118)),
        # From topic to topic.
        box("part", 20, 160, 100, 56, "producers"),
        arrow((120, 188), (148, 188)),
        box("topic", 150, 152, 110, 72, "reviews", "topic"),
        arrow((260, 188), (298, 188)),
        box("worker", 300, 120, 370, 136),
        text(485, 145, "worker", "name"),
        *(box("step", 310 + 71 * n, 166, 66, 40) for n in range(len(steps))),
        *(text(343 + 71 * n, 191, step, "step-name") for n, step in enumerate(steps)),
        text(485, 235, "micro-batches of similar length, on a CPU", "note"),
        arrow((670, 188), (698, 188)),
        # What becomes visible together.
        '<rect class="together" x="700" y="40" width="240" height="320" rx="12"/>',
        text(820, 66, "one transaction", "together-name"),
        box("topic", 716, 82, 208, 66, "reviews.labeled", "labels and probabilities"),
        box("bad", 716, 164, 208, 66, "reviews.dlq", "bad records, with a reason"),
        box("topic", 716, 246, 208, 66, "offsets", "what has been read"),
        text(820, 340, "all visible at once, or nothing", "note"),
        # What watches.
        arrow((485, 256), (485, 318)),
        box("part", 395, 320, 180, 56, "health, metrics", "/live /ready /metrics"),
        arrow((395, 348), (352, 348)),
        box("part", 150, 320, 200, 56, "Prometheus, Grafana", "alerts with a runbook"),
    ]
    title = "Reviews flow from a topic through the worker to a topic of labels, a dead-letter topic, and the offsets"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}\n</style>",
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">',
            '<path d="M 0 0 L 10 5 L 0 10 z"/></marker>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(flow(), "utf-8")
