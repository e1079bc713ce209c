"""One builder of flags for both programs, and errors that never repeat a value."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from consumer import cli
from consumer.flags import add_settings, given
from consumer.usage import Parser
from training import cli as training_cli

SECRET = "hunter2"
MAINS = (cli.main, training_cli.main)


class Base(BaseModel):
    """First group."""

    wait_seconds: float = Field(1.0, description="how long to wait")
    kind: Literal["a", "b"] = Field("a", description="100 % of a, or b")
    loud: bool = Field(False, description="whether to shout")


class Derived(Base):
    """Second group.

    A paragraph that is no title.
    """

    wait_seconds: float = Field(2.0, description="how long to wait here")
    rows: int | None = Field(None, description="rows to read (default: all of them)")
    names: tuple[str, ...] = Field(("x", "y"), description="names")
    password: SecretStr | None = Field(None, description="a secret (default: none)")


def parser() -> Parser:
    """A parser of `Derived`."""
    built = Parser(prog="program")
    add_settings(built, Derived)
    return built


def test_help_shows_group_unit_default_and_description() -> None:
    """In that order; a field that a subclass redefines stays in its group, with the new default."""
    text = " ".join(parser().format_help().split())
    for part in (
        "First group: --wait-seconds SECONDS how long to wait here [default: 2]",
        "--kind {a,b} 100 % of a, or b [default: a]",
        "--loud, --no-loud whether to shout [default: false]",
        "Second group: --rows N rows to read [default: all of them]",
        "--names NAME,... names [default: x,y]",
    ):
        assert part in text
    assert "password" not in text


def test_only_flags_that_were_given_are_passed_on() -> None:
    """So that defaults stay with the model, and weaker sources are not overridden."""
    parsed = parser().parse_args(["--rows", "3", "--no-loud", "--names", "z,w"])
    assert given(Derived, parsed) == {"rows": "3", "loud": False, "names": ("z", "w")}
    assert given(Derived, parser().parse_args([])) == {}


UNKNOWN = (
    ["run", "--sasl-password", SECRET],
    ["run", f"--sasl-password={SECRET}"],
    ["run", "--sasl-password", f"--{SECRET}"],
    ["run", "--pasword", SECRET, "--group-id", "g"],
    ["run", f"-p{SECRET}"],
    ["run", SECRET],
    ["run", f"--drain={SECRET}"],
    ["run", f"--bootstrap={SECRET}"],
    ["run", "--group-id"],
    ["--sasl-password", SECRET, "run"],
    ["kafka", "--port", SECRET],
    ["inspect", f"--{SECRET}=1"],
    [SECRET],
)


@pytest.mark.parametrize("main", MAINS)
@pytest.mark.parametrize("arguments", UNKNOWN)
def test_a_usage_error_never_repeats_a_value(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be a password: exit code 2, and one line that says what to do, without it."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    written = capsys.readouterr()
    assert SECRET not in written.out + written.err
    assert "error: " in written.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--sasl-password", SECRET], "there is no flag --sasl-password: every user of this machine can read"),
        (["run", "--bootstrap", "a:1"], "unknown flag --bootstrap; did you mean --bootstrap-servers?"),
        (["run", "--nothing-like-it"], "unknown flag --nothing-like-it"),
        (["run", "stray"], "unexpected argument"),
        (["run", "--no-drain=1"], "takes no value"),
        (["sing"], "invalid choice (choose from"),
    ],
)
def test_a_usage_error_says_what_to_do(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag that was meant, or where a secret belongs; no flag has abbreviations."""
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert says in capsys.readouterr().err.splitlines()[-1]


#: Wrong usage of training and of the worker, and what its message has to name.
MISSPELLED = (
    (training_cli.main, "fit --lerning-rate 1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --learning_rate 1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --learning-rat=1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --Learning-Rate 1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --learn 1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --lr 1e-5", "did you mean --learning-rate?"),
    (training_cli.main, "fit --epoch 3", "did you mean --epochs?"),
    (training_cli.main, "fit -epochs 3", "did you mean --epochs?"),
    (training_cli.main, "fit \u2014epochs 3", "did you mean --epochs?"),
    (training_cli.main, "fit --num_train_epochs 3", "did you mean --epochs?"),
    (training_cli.main, "fit --per_device_train_batch_size 8", "did you mean --batch-size?"),
    (training_cli.main, "fit --tain a.xlsx --test b.xlsx --out c", "unknown flag --tain; did you mean --train?"),
    (training_cli.main, "fit --train a --test b --out evaluate --epoch 3", "did you mean --epochs?"),
    (training_cli.main, "evaluate --epochs 3", "compare have it, evaluate does not"),
    (training_cli.main, "--epochs 3 fit", "flags come after the command, as in review-training fit --epochs"),
    (training_cli.main, "lr_find", "did you mean lr-find?"),
    (training_cli.main, "evalute", "did you mean evaluate?"),
    (training_cli.main, "distill --train a", "did you mean distil?"),
    (cli.main, "run --topic-in t", "unknown flag --topic-in"),
    (cli.main, "run --bootstrap_servers h:1", "did you mean --bootstrap-servers?"),
    (cli.main, "run --bootstrap-server h:1", "did you mean --bootstrap-servers?"),
    (cli.main, "rnu", "did you mean run?"),
    (cli.main, "dlq lst", "did you mean list?"),
    (cli.main, "dlq list --drain", "run and check have it, dlq list does not"),
    (cli.main, "completion bsh", "did you mean bash?"),
)


@pytest.mark.parametrize(("main", "line", "says"), MISSPELLED, ids=[line for _, line, _ in MISSPELLED])
def test_wrong_usage_names_what_was_meant(
    main: Callable[[list[str]], int], line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelled flag or command, or one of another command, whatever else is missing; nothing is abbreviated."""
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


VALUES = (SECRET, f"'{SECRET}' (choose from {SECRET})", f"a\n{SECRET}", f"' value: {SECRET}")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("flag", ["--kind", "--rows"])
def test_a_refused_choice_or_number_is_not_repeated(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever quotes and line breaks the value contains."""
    built = Parser(prog="program")
    built.add_argument("--kind", choices=("a", "b"))
    built.add_argument("--rows", type=int)
    with pytest.raises(SystemExit):
        built.parse_args([flag, value])
    written = capsys.readouterr().err
    assert f"argument {flag}: invalid " in written
    assert SECRET not in written


@pytest.mark.parametrize("name", ["consumer", "training.cli"])
def test_each_program_knows_its_version(name: str) -> None:
    """`--version` prints the version of the installed package."""
    ended = subprocess.run([sys.executable, "-m", name, "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.split()[-1] == version("review-consumer")
