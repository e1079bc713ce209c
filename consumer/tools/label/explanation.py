"""An explanation for people at a terminal: lines, and the text with its words coloured."""

from rich.text import Text

from consumer.model.explain import Explanation, Part
from consumer.service.logs import visible


def headline(explanation: Explanation) -> str:
    """What was found, what it cost and, of a text that is too long, what was read; in one line."""
    windowed = any(len(part.words.split()) > 1 for part in explanation.parts if part.read)
    unit = "window of words" if windowed else "word"
    line = f"{explanation.label} {explanation.score:.4f}; {explanation.evaluations} evaluations: "
    line += f"with and without each {unit}"
    if explanation.truncated:
        line += f"; {what_is_read(explanation)}"
    return line + (f"; {explanation.failed} failed" if explanation.failed else "")


def what_is_read(explanation: Explanation) -> str:
    """Which words of a text that is too long the model reads: those at its start, and at its end if there are any."""
    counts = [0, 0]  # before and after the first words that are not read
    unread = 0
    for part in explanation.parts:
        words = len(part.words.split())
        if part.read:
            counts[unread > 0] += words
        else:
            unread += words
    parts = " and ".join(f"the {name} {count}" for name, count in zip(("first", "last"), counts, strict=True) if count)
    return f"the model reads {parts} of {sum(counts) + unread} words"


def top_lines(explanation: Explanation) -> list[str]:
    """The words that weigh most, one a line, for terminals without colours."""
    return [f"{part.weight:+8.3f}  {visible(part.words)}" for part in explanation.top()] or ["no word stands out"]


def weights(explanation: Explanation) -> str:
    """The words that weigh most, for and against, in one line."""
    top = explanation.top()
    sides = {
        "for": [part for part in top if part.weight > 0],
        "against": [part for part in top if part.weight < 0],
    }
    told = (
        f"{side}: {', '.join(f'{visible(part.words)} {part.weight:+.2f}' for part in parts)}"
        for side, parts in sides.items()
        if parts
    )
    return "   ".join(told) or "no word stands out"


def as_rich(explanation: Explanation) -> Text:
    """The text with its marked words coloured: green carried the label, red spoke against it, grey was not read."""
    coloured = Text()
    for piece, part in pieces(explanation):
        style = ""
        if part is not None and not part.read:
            style = "bright_black"
        elif part is not None and part.marked:
            style = "bold black on green" if part.weight > 0 else "white on red"
        coloured.append(visible(piece.replace("\r\n", "\n"), keep="\n\t"), style=style)
    return coloured


def pieces(explanation: Explanation) -> list[tuple[str, Part | None]]:
    """The whole text, cut into its parts and what is between them."""
    found: list[tuple[str, Part | None]] = []
    at = 0
    for part in explanation.parts:
        found += [(explanation.text[at : part.start], None), (explanation.text[part.start : part.end], part)]
        at = part.end
    return [*found, (explanation.text[at:], None)]
