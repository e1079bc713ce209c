"""`review-training explain`: the words that decided the label of a text."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle, text and output."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to label with")
    parser.add_argument("text", metavar="TEXT", help="the text; -: all of standard input is one text")
    parser.add_argument("--label", metavar="NAME", help="explain this label (default: the predicted one)")
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a self-contained HTML page")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the coloured text")


def run(arguments: argparse.Namespace) -> None:
    """Explain and show."""
    from consumer.model.explain import explain
    from consumer.tools.label.explanation import as_rich, headline, top_lines
    from training.io.names import check_utf8
    from training.io.output import check_file, check_not_read, writing
    from training.measure.evaluate import open_classifier
    from training.measure.reports import explanation as views

    page = arguments.html
    if page:
        check_file("--html", page)
        check_not_read("--html", page, [("--bundle", arguments.bundle)])
        check_utf8(arguments.bundle.resolve().name)
    text = arguments.text
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    with open_classifier(arguments.bundle, arguments.variant) as classifier:
        classifier.self_check()
        explanation = explain(classifier, text, arguments.label)
    if page:
        with writing("--html", page):
            page.write_text(views.as_html(explanation, arguments.bundle.resolve().name), encoding="utf-8")
    if arguments.json:
        print(views.as_json(explanation))  # noqa: T201
    else:
        console = views.Terminal(highlight=False)
        for line in (headline(explanation), *top_lines(explanation)):
            console.print(line, markup=False, emoji=False, soft_wrap=True)
        console.print(as_rich(explanation), soft_wrap=True)
