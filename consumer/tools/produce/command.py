"""The flags of `review-consumer produce`. Quick to import, for --help."""

import argparse
from pathlib import Path

from consumer.tools.options import add_connection
from consumer.tools.output import add_json

EXIT_CODES = (
    "exit codes: 0 every row is sent; 1 rows would be refused, and nothing was sent; 2 wrong usage, settings or file; "
    "4 Kafka cannot be used as configured; 5 Kafka failed: run the same command again, it resumes; 130 Ctrl-C"
)
#: Settings that decide what the worker takes.
FIELDS = (
    "input_topic",
    "group_id",
    "text_field",
    "id_field",
    "max_record_bytes",
    "max_text_characters",
    "max_request_bytes",
)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, where its columns go, how it is sent, and the settings of the worker that matter here."""
    from consumer.tables.options import add_reading
    from consumer.tools.produce.mapping import constant, renamed

    parser.usage = "%(prog)s FILE [FLAG ...]"
    parser.description = (
        "Send the rows of a file to the input topic, each exactly once: a command that was killed resumes where Kafka "
        "says it was. First every row is checked as the worker will check it; if it would refuse one, nothing is sent. "
        "Try --dry-run first: it shows the first three messages and needs no Kafka."
    )
    parser.epilog = f"example: review-consumer produce reviews.xlsx --id-column number --key-column film. {EXIT_CODES}"
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help=".xlsx, .csv, .tsv, .jsonl, .json, .parquet or .txt with a text a line; "
        "text formats also as .gz, .bz2 or .xz",
    )
    columns = parser.add_argument_group("Columns")
    columns.add_argument(
        "--text-column",
        metavar="NAME",
        help="column of the texts (default: Reviews, or another usual name, or the only one)",
    )
    columns.add_argument(
        "--id-column", metavar="NAME", help="column of the ids (default: one named as id_field, if any)"
    )
    columns.add_argument(
        "--field",
        action="append",
        default=[],
        type=renamed,
        metavar="COLUMN[=FIELD]",
        help="send this column as well, as a field of this name; can be repeated (default: every column)",
    )
    columns.add_argument("--no-fields", action="store_true", help="send text and id alone")
    columns.add_argument(
        "--wrap", action="store_true", help="a line of a jsonl file that is a string is a text (default: it is refused)"
    )
    record = parser.add_argument_group("Records")
    record.add_argument(
        "--key-column",
        metavar="NAME",
        help="column of the keys: records of a key stay in order, in the partition that Java's producer would choose "
        "(default: no key, partitions take turns)",
    )
    record.add_argument(
        "--header", action="append", default=[], type=constant, metavar="NAME=VALUE", help="a header of every record"
    )
    record.add_argument(
        "--header-column",
        action="append",
        default=[],
        type=renamed,
        metavar="COLUMN[=NAME]",
        help="send this column as a header of this name; a blank cell makes none",
    )
    record.add_argument(
        "--timestamp-column",
        metavar="NAME",
        help="column of the timestamps: ISO 8601, UTC without a zone, or seconds or milliseconds since 1970 (default: "
        "the time of sending)",
    )
    record.add_argument("--compression", choices=CODECS, default="none", help="of batches (default: none)")
    sending = parser.add_argument_group("Sending")
    sending.add_argument(
        "--dry-run", action="store_true", help="check every row, show the first three messages, and end"
    )
    sending.add_argument("--skip-refused", action="store_true", help="send the other rows if some would be refused")
    sending.add_argument("--rate", type=_rate, metavar="N", help="records a second at most (default: no limit)")
    sending.add_argument(
        "--run",
        default="",
        metavar="NAME",
        help="name of this sending. A file is sent once under each name, so a new name sends it again (default: none)",
    )
    add_json(sending)
    add_reading(parser.add_argument_group("A file that is not read rightly"))
    add_connection(parser, *FIELDS)


def run(arguments: argparse.Namespace) -> int:
    """Check the file, then send it; returns 1 if rows were refused and nothing was sent.

    Raises:
        UsageError: wrong flags, settings or file.
        KafkaUnusable: Kafka cannot be used as configured.
        GaveUp: Kafka failed; the same command resumes.
    """
    from consumer.tools.options import settings_of
    from consumer.tools.output import Output
    from consumer.tools.produce import course
    from consumer.tools.produce.file import InputFile, tell
    from consumer.tools.produce.mapping import mapping_of

    settings = settings_of(arguments)
    mapping = mapping_of(arguments)
    output = Output(arguments.json)
    file = InputFile(arguments.file, mapping, settings)
    digest = file.digest()
    checked = course.check(file, output, dry_run=arguments.dry_run)
    is_refused = bool(checked.refused) and not arguments.skip_refused
    if arguments.dry_run or is_refused:
        found = {"rows": checked.messages + checked.refused, "records": checked.messages, "refused": checked.refused}
        if output.is_json:
            output.line({**found, "sent": 0})
        counts = f"{checked.messages:,} rows can be sent, {checked.refused:,} would be refused; nothing was sent"
        output.say(counts)
        if is_refused:
            tell(f"{checked.refused:,} rows would be refused: fix them, or send the others with --skip-refused")
        return 1 if is_refused else 0
    if not checked.messages:
        output.say("the file has no row to send")
        return 0
    result = course.send(
        file,
        checked,
        settings,
        digest=digest,
        options=mapping.digest(settings),
        run=arguments.run,
        compression=None if arguments.compression == "none" else arguments.compression,
        rate=arguments.rate,
    )
    if output.is_json:
        output.line(result)
    elif "finished" in result:
        output.say(
            f"all {result['before']:,} records of this file were sent to {result['topic']} already, at "
            f"{result['finished']}; to send it again, give the sending a new name with --run NAME"
        )
    else:
        before = f", after {result['before']:,} of an earlier run" if result["before"] else ""
        skipped = f"; {checked.refused:,} rows were skipped" if checked.refused else ""
        output.say(f"sent {result['sent']:,} records to {result['topic']} in {result['seconds']:,} s{before}{skipped}")
    return 0


def _rate(text: str) -> float:
    if not 0 < (number := float(text)) < 1e9:
        raise ValueError
    return number
