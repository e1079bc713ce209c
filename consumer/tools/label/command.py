"""The flags of `review-consumer label`, and its course. Quick to import, for --help."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import closing, nullcontext

from consumer.errors import UsageError
from consumer.flags import add_settings
from consumer.settings import WorkerSettings
from consumer.tools.output import Output, add_json, progress

FIELDS = {"bundle", "bundle_digest", "variant", "threads", "text_field", "max_text_characters"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Texts, how they are read, and the settings of the worker that matter here."""
    parser.usage = "%(prog)s [TEXT ...] [--file FILE] [--explain] [FLAG ...]"
    parser.description = (
        "Label texts with a model bundle, without Kafka: arguments, a file, or standard input with a text a line. "
        "Prints a table on a terminal, JSON lines in a pipe. Without --bundle, it uses bundles/distilbert-imdb if that "
        "is there, else student-imdb, which comes with the program."
    )
    parser.epilog = (
        "examples: review-consumer label 'Two hours of my life, gone.' | review-consumer label --explain < lines.txt | "
        "review-consumer label --file reviews.csv --text-field review. Exit codes: 0 all texts are labelled; 1 some "
        "cannot be labelled, and are printed with the reason; 2 wrong usage, settings or file; 3 model bundle refused; "
        "5 the model failed"
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text; without any, standard input is read")
    parser.add_argument("--file", metavar="FILE", help="read the texts of this file; -: of standard input")
    parser.add_argument(
        "--format",
        choices=("lines", "csv", "tsv", "jsonl"),
        help="lines: a text a line; csv, tsv: a column of a table with a header; jsonl: a field of a JSON object a line "
        "(default: by the name of the file, else lines)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="mark the words that decided the label: the model is asked again without each word, and with it alone",
    )
    parser.add_argument("--label", metavar="NAME", help="with --explain: explain this label (default: the predicted one)")
    add_json(parser)
    parser.add_argument("--config", metavar="FILE", help="settings file of the worker, TOML [REVIEWS_CONFIG]")
    add_settings(parser, WorkerSettings, FIELDS)


def run(arguments: argparse.Namespace) -> int:
    """Label and print each text; returns 1 if one of them cannot be labelled.

    Raises:
        UsageError: wrong flags or settings, or the file cannot be read.
        BundleError: the bundle is missing or damaged, or does not answer as it did when it was packaged.
        GaveUp: the engine fails.
    """
    from consumer.model.bundle import load_bundle
    from consumer.model.classifier import Classifier
    from consumer.model.embedded import default
    from consumer.model.engines import open_engine
    from consumer.records.parse import Limits
    from consumer.tools.label.show import Labelling
    from consumer.tools.label.texts import Given, of_arguments, of_file
    from consumer.tools.options import settings_of

    if arguments.texts and arguments.file:
        raise UsageError("give texts as arguments or --file, not both")
    if arguments.label and not arguments.explain:
        raise UsageError("--label chooses the label that --explain explains; add --explain")
    settings = settings_of(arguments)
    limits, output = Limits.of(settings), Output(arguments.json)
    path = settings.bundle if "bundle" in settings.model_fields_set else default()
    bundle = load_bundle(path, settings.bundle_digest)
    labels = bundle.manifest.labels
    if arguments.label and arguments.label not in labels:
        raise UsageError(f"the bundle has no label of the name that --label has; it knows {', '.join(labels)}")
    with closing(Classifier(bundle, open_engine(bundle, settings.variant, settings.threads))) as classifier:
        classifier.self_check()
        labelling = Labelling(classifier, output, explains=arguments.explain, label=arguments.label)

        def label_all(groups: Iterable[Iterable[Given]]) -> None:
            # On a terminal, the rows show how far it is.
            watched = progress("labelling", len(arguments.texts) or None) if output.is_json else nullcontext(int)
            with watched as done:
                for group in groups:
                    done(labelling.show(list(group)))

        labelling.head()
        if arguments.texts:
            label_all(of_arguments(arguments.texts, limits))
        else:
            if not arguments.file and sys.stdin is not None and sys.stdin.isatty():
                output.say("Write a text and press Enter. Ctrl-D ends.", "dim")
            with of_file(arguments.file, arguments.format, limits) as groups:
                label_all(groups)
    return 1 if labelling.faults else 0
