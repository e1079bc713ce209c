"""`review-consumer run`: settings, then model, then Kafka, then the loop; each fails with its own exit code."""

import argparse
import logging
import os
import signal
import tomllib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from consumer.errors import GaveUp, UsageError
from consumer.kafka.broker import OUTSIDE, Broker
from consumer.kafka.publisher import Step
from consumer.kafka_settings import CONFIG_VARIABLE, SECRETS_VARIABLE, KafkaSettings
from consumer.model.bundle import Bundle, load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.cores import available_cores
from consumer.records.messages import Model
from consumer.service import logs
from consumer.service.health import Health, HealthServer
from consumer.service.metrics import Metrics
from consumer.service.watchdog import Watchdog
from consumer.settings import WorkerSettings
from consumer.worker import Worker

log = logging.getLogger("consumer")

#: Unless told otherwise: each takes some 60 MiB, and 2 GiB, with which workers are run, are not enough for 32.
MOST_THREADS = 16


def add_arguments(parser: argparse.ArgumentParser, model: type[KafkaSettings] = WorkerSettings) -> None:
    """One flag per setting; secrets have none, for a command line is visible to every user of the machine."""
    parser.description = (
        "Label reviews until stopped. Each setting is a flag, an environment variable (REVIEWS_ and its name in "
        "capitals) or a line of the TOML settings file; flags win over environment, environment over file."
    )
    parser.add_argument("--config", metavar="FILE", help="TOML settings file [REVIEWS_CONFIG]")
    for name, field in model.model_fields.items():
        if "SecretStr" in str(field.annotation):
            continue
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction}
            if field.annotation is bool
            else {"metavar": _metavar(name, field)}
        )
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=argparse.SUPPRESS,
            help=f"{field.description} (default: {_shown(field)})".replace("%", "%%"),
            **kind,
        )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or the end of a drain."""
    settings = read_settings(arguments)
    logs.set_up(settings.log_format, settings.log_level)
    if unknown := settings.unknown_names():
        log.warning("no settings, and without effect: %s (see review-consumer run --help)", ", ".join(unknown))
    return serve(settings, lambda bundle: open_classifier(settings, bundle))


def read_settings(arguments: argparse.Namespace) -> WorkerSettings:
    """Merge flags, environment and settings file.

    Raises:
        UsageError: with one line for each wrong setting; values are not repeated, one may be a secret.
    """
    flags = {name: value for name, value in vars(arguments).items() if name in WorkerSettings.model_fields}
    if arguments.config is not None:
        os.environ[CONFIG_VARIABLE] = arguments.config
    file, secrets = os.environ.get(CONFIG_VARIABLE), os.environ.get(SECRETS_VARIABLE)
    try:
        if file and not Path(file).is_file():
            raise UsageError(f"settings file {file} does not exist, or is no file")
        if secrets and not Path(secrets).is_dir():
            raise UsageError(f"{SECRETS_VARIABLE} is {secrets}, which is no directory: name one with a file per secret")
        return WorkerSettings(**flags, _secrets_dir=secrets)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"{problems} (see review-consumer run --help)") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"settings file {file} is not TOML: {error}") from None
    except SettingsError as error:  # it names the secret, not what is in it
        raise UsageError(f"{SECRETS_VARIABLE} must be a directory with one text file per secret: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        # The text of a UnicodeDecodeError repeats a byte of the file.
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"settings file {file} or {SECRETS_VARIABLE} cannot be read: {why}") from None


def open_classifier(settings: WorkerSettings, bundle: Bundle) -> Classifier:
    """Open the engine, replay the golden texts and warm up.

    Raises:
        BundleError: the model does not answer as it did when it was made.
    """
    threads = settings.threads or min(available_cores(), MOST_THREADS)
    engine = open_engine(bundle, settings.variant, threads)
    classifier = Classifier(bundle, engine, token_budget=settings.token_budget)
    classifier.self_check()
    return classifier


def serve(
    settings: WorkerSettings,
    open_model: Callable[[Bundle], Classifier],
    at: Callable[[Step], None] = lambda _: None,
) -> int:
    """Open the parts in the order in which they can fail, run the loop, close them in the opposite order.

    Args:
        settings: of this worker.
        open_model: opens the classifier of a bundle; raises `BundleError` if the bundle is no good.
        at: see `Broker`.
    """
    metrics, health = Metrics(), Health(settings.watchdog_seconds)
    metrics.ready.set_function(lambda: health.ready)
    with ExitStack() as closing:
        server = HealthServer(settings.metrics_host, settings.metrics_port, health, metrics.registry)
        closing.callback(server.close)
        log.info("metrics, /live and /ready on %s", server.url)
        health.not_ready_because = "loading the model"
        bundle = load_bundle(settings.bundle, settings.bundle_digest)
        classifier = open_model(bundle)
        closing.callback(classifier.close)
        model = Model(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.digest,
            variant=classifier.variant,
        )
        metrics.model.labels(model.name, model.version, model.variant, model.digest).set(1)
        log.info("model %s %s (%s) is ready, digest %s", model.name, model.version, model.variant, model.digest[:12])

        def waiting(what: str) -> None:
            if health.not_ready_because != what:
                health.not_ready_because = what
                log.warning("waiting: %s", what)
            health.turned()
            watchdog.rearm()

        watchdog = Watchdog(settings.watchdog_seconds)
        closing.callback(watchdog.close)
        broker = Broker(settings, waiting, at)
        worker = Worker(settings, broker, classifier, model=model, metrics=metrics, health=health, watchdog=watchdog)
        _stop_on_signals(worker)
        closing.callback(lambda: broker.close(settings.stop_timeout_seconds))
        if not settings.security_protocol.endswith("SSL") and not settings.on_this_machine:
            log.warning("the connection to Kafka is not encrypted; set security_protocol to SASL_SSL or SSL")
        health.not_ready_because = f"connecting to {settings.bootstrap_servers}"
        broker.connect(lambda: worker.stopping)
        if not worker.stopping:
            health.not_ready_because = OUTSIDE
            log.info("ready: %s from %s", settings.delivery.value, settings.input_topic)
            worker.run()
        done = worker.counts
        log.info(
            "%s: %s labelled, %s dead-lettered",
            "stopped" if worker.stopping else "drained",
            done["labelled"],
            done["dead_lettered"],
        )
    return 0


def _stop_on_signals(worker: Worker) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        if worker.stopping:  # asked twice: leave at once; what is not committed is taken again
            os._exit(GaveUp.exit_code)
        worker.stop()
        with suppress(OSError):
            what = f"{signal.Signals(number).name}: finishing the poll at hand; again to leave at once"
            logs.write_unlocked(logging.INFO, what)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _metavar(name: str, field: FieldInfo) -> str:
    kinds = (get_args(field.annotation) or (field.annotation,)) if field.annotation else ()
    if all(isinstance(kind, str) for kind in kinds):  # a Literal
        return "{" + ",".join(map(str, kinds)) + "}"
    if isinstance(kinds[0], type) and issubclass(kinds[0], StrEnum):
        return "{" + ",".join(kinds[0]) + "}"
    for ending, unit in (("_seconds", "SECONDS"), ("_bytes", "BYTES"), ("_ratio", "SHARE")):
        if name.endswith(ending):
            return unit
    return {int: "N", Path: "PATH"}.get(kinds[0], "NAME")


def _shown(field: FieldInfo) -> str:
    if field.default is None:
        return "none"
    return getattr(field.default, "value", None) or str(field.default)
