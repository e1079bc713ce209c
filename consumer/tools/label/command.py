"""The flags of `review-consumer label`, and its course. Quick to import, for --help."""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from consumer.errors import UsageError
from consumer.flags import add_settings
from consumer.settings import WorkerSettings
from consumer.tables.options import add_reading
from consumer.tools.output import Output, add_json, progress

FIELDS = {"bundle", "bundle_digest", "variant", "threads", "text_field", "max_text_characters"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Texts, how they are read, and the settings of the worker that matter here."""
    parser.usage = "%(prog)s [TEXT ...] [--file FILE] [--explain] [FLAG ...]"
    parser.description = (
        "Label texts with a model bundle, without Kafka: arguments, a file, or standard input with one text per line. "
        "Prints a table on a terminal, JSON lines in a pipe. Without --bundle, it uses bundles/cascade-imdb if that "
        "is there, else student-imdb, which comes with the program."
    )
    parser.epilog = (
        "examples: review-consumer label 'A waste of two hours.' | review-consumer label --explain < lines.txt | "
        "review-consumer label --file reviews.xlsx --text-column Reviews. Exit codes: 0 all texts are labelled; 1 some "
        "cannot be labelled, and are printed with the reason; 2 wrong usage, settings or file; 3 model bundle refused; "
        "5 the model failed"
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text; without any, standard input is read")
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="read the texts of this file: a column of a spreadsheet, csv, tsv or parquet file, a field of JSON lines, "
        "or one text per line; -: of standard input",
    )
    parser.add_argument(
        "--format",
        choices=("lines", "jsonl"),
        help="lines: one text per line; jsonl: a field of the JSON object on each line (default: by the name of the "
        "file, else lines)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="mark the words that decided the label: the model is asked again without each word, and with it alone",
    )
    parser.add_argument(
        "--label", metavar="NAME", help="with --explain: explain this label (default: the predicted one)"
    )
    add_json(parser)
    tables = parser.add_argument_group("Tables")
    tables.add_argument(
        "--text-column", metavar="NAME", help="column with the texts (default: one of the usual names, or the only one)"
    )
    add_reading(tables)
    parser.add_argument("--config", metavar="FILE", help="settings file of the worker, TOML [REVIEWS_CONFIG]")
    add_settings(parser, WorkerSettings, FIELDS)


def run(arguments: argparse.Namespace) -> int:
    """Label and print each text; returns 1 if one of them cannot be labelled.

    Raises:
        UsageError: wrong flags or settings, or the file cannot be read.
        BundleError: the bundle is missing or damaged, or does not answer as it did when it was packaged.
        GaveUp: the engine fails.
    """
    from consumer.model.bundle.embedded import default
    from consumer.model.cascade.bundle import load
    from consumer.model.opening import open_labeller
    from consumer.records.parse import Limits
    from consumer.tables.options import reading
    from consumer.tools.label.show import Labelling
    from consumer.tools.label.texts import is_table, of_arguments, of_stream, of_table
    from consumer.tools.options import settings_of

    if arguments.texts and arguments.file:
        raise UsageError("give texts as arguments or --file, not both")
    if arguments.label and not arguments.explain:
        raise UsageError("--label chooses the label that --explain explains; add --explain")
    settings = settings_of(arguments)
    limits, output = Limits.of(settings), Output(arguments.json)
    with ExitStack() as stack:
        # The texts first: a wrong name is reported before a model is loaded.
        if arguments.texts:
            groups = of_arguments(arguments.texts, limits)
        elif is_table(arguments.file, arguments.format):
            groups = of_table(Path(arguments.file), arguments.text_column, reading(arguments), limits)
        else:
            groups = stack.enter_context(of_stream(arguments.file, arguments.format, limits))
        path = settings.bundle if "bundle" in settings.model_fields_set else default()
        bundle = load(path, settings.bundle_digest)
        if arguments.label and arguments.label not in bundle.manifest.labels:
            raise UsageError(f"--label is none that the bundle knows; it knows {', '.join(bundle.manifest.labels)}")
        classifier = stack.enter_context(closing(open_labeller(bundle, settings.variant, settings.threads)))
        classifier.self_check()
        labelling = Labelling(classifier, output, explains=arguments.explain, label=arguments.label)
        labelling.head()
        if not arguments.texts and not arguments.file and sys.stdin.isatty():
            output.say("Write a text and press Enter. Ctrl-D ends.", "dim")
        done: Callable[[int], object] = int  # on a terminal, the rows show how far it is
        if output.is_json:
            done = stack.enter_context(progress("labelling", len(arguments.texts) or None))
        for group in groups:
            done(labelling.show(group))
    return 1 if labelling.faults else 0
