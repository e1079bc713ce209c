"""Labels and prints texts: a line each with a bar for the score, or a JSON object each; with the words that decided."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.padding import Padding
from rich.text import Text

from consumer.model.classifier import Classifier
from consumer.model.explain import Explanation, explain
from consumer.model.labeller import Failed, Scored
from consumer.records.fault import Fault, Reason
from consumer.service.logs import visible
from consumer.tools.label.explanation import as_rich, weights, what_is_read
from consumer.tools.label.texts import Given
from consumer.tools.output import Output

#: Width of a full bar, in characters.
BAR = 10
#: Characters of a text in a table; the terminal cuts what it has no room for.
SHOWN_CHARACTERS = 400
_EIGHTHS = " ▏▎▍▌▋▊▉"
_STYLES = {"pos": "green", "neg": "red"}


class Labelling:
    """Labels groups of texts and prints each.

    Args:
        classifier: of the bundle.
        output: where to.
        explains: also weigh the words of each text.
        label: the label to explain; None: the predicted one.

    Attributes:
        faults: texts that could not be labelled.
    """

    def __init__(self, classifier: Classifier, output: Output, *, explains: bool, label: str | None) -> None:
        self.faults = 0
        self._classifier = classifier
        self._output = output
        self._explains = explains
        self._label = label
        self._width = max(map(len, (*classifier.bundle.manifest.labels, "label")))

    def head(self) -> None:
        """Print which model this is, and the heads of the columns."""
        manifest, digest = self._classifier.bundle.manifest, self._classifier.digest
        self._output.say(f"{manifest.name} {manifest.version}, {self._classifier.variant}, digest {digest[:12]}", "dim")
        self._output.say(f"{'label':<{self._width}}  {'score':<{BAR + 6}}  text", "bold")

    def show(self, group: Sequence[Given]) -> int:
        """Label and print the texts of `group`; returns how many there are."""
        results = iter(self._classifier.classify([given.text for given in group if not given.fault]).results)
        for given in group:
            result = given.fault or next(results)
            if isinstance(result, Failed):
                result = Fault(Reason.MODEL_ERROR)
            if isinstance(result, Fault):
                self.faults += 1
                self._fault(given, result)
            else:
                explanation = explain(self._classifier, given.text, self._label) if self._explains else None
                self._scored(given, result, explanation)
        return len(group)

    def _fault(self, given: Given, fault: Fault) -> None:
        if self._output.is_json:
            detail = {"detail": str(fault)} if fault.detail else {}
            self._output.line({"row": given.row, "label": None, "reason": fault.reason.value, **detail})
            return
        cause = f"{fault.reason}: {fault}" if fault.detail else fault.reason.value
        self._print(Text(f"{'-':<{self._width}}  row {given.row} cannot be labelled ({cause})", "yellow"))

    def _scored(self, given: Given, scored: Scored, explanation: Explanation | None) -> None:
        if self._output.is_json:
            answer = {name: value for name, value in asdict(scored).items() if value is not None}
            row = {"row": given.row, **answer, "text": given.text}
            if explanation:
                row["explanation"] = asdict(explanation)
            self._output.line(row)
            return
        style = _STYLES.get(scored.label, "cyan")
        line = Text.assemble(
            (f"{visible(scored.label):<{self._width}}  ", style),
            (bar(scored.score, self._output.console.options.ascii_only), style),
            f" {scored.score:.3f}  ",
            ("unsure  ", "yellow") if scored.unsure else "",
        )
        if not explanation:
            text = " ".join(given.text[:SHOWN_CHARACTERS].split())
            self._print(line.append(visible(text)))
            return
        notes = (f"why {explanation.label}" * bool(self._label), what_is_read(explanation) * scored.truncated)
        self._print(line.append(", ".join(filter(None, notes)), "dim"))
        self._output.console.print(Padding(as_rich(explanation), (0, 0, 0, 2)))
        self._output.say(f"  {weights(explanation)}", "dim")
        self._output.say("")

    def _print(self, line: Text) -> None:
        self._output.console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def bar(share: float, is_ascii: bool = False) -> str:
    """A bar of `BAR` characters of which `share`, 0 to 1, is filled."""
    if is_ascii:
        return f"{'#' * round(share * BAR):<{BAR}}"
    full, eighths = divmod(round(share * BAR * 8), 8)
    return f"{'█' * full}{_EIGHTHS[eighths] if eighths else ''}".ljust(BAR)
