"""`review-consumer run`: settings, then model, then Kafka, then the loop; each fails with its own exit code."""

import argparse
import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from consumer.errors import GaveUp
from consumer.flags import add_settings, version
from consumer.kafka import fixes
from consumer.kafka.broker import Broker
from consumer.kafka.publisher import Step
from consumer.kafka.start import Start
from consumer.model.engines.cores import available_cores
from consumer.model.labeller import Labeller
from consumer.model.opening import AnyBundle, open_labeller
from consumer.records.poll import Obstacle
from consumer.service import logs
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.service.page.page import Page
from consumer.service.page.recent import RecentLines
from consumer.service.server import HealthServer
from consumer.service.signals import Stop, on_reload
from consumer.service.watchdog import Watchdog
from consumer.serving.canary import read_canary
from consumer.serving.served import Opener, OpenModel
from consumer.serving.swap import Swap
from consumer.settings import WorkerSettings
from consumer.settings.sources import read_settings
from consumer.settings.worker import MOST_THREADS
from consumer.tracing.opening import open_tracing
from consumer.worker import Worker

log = logging.getLogger("consumer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings file, and one flag for each setting."""
    parser.usage = "%(prog)s [--config FILE] [FLAG ...]"
    parser.description = (
        "Label reviews until stopped. Each setting is a flag, an environment variable (shown in brackets) or a line "
        "of the settings file. Flags override the environment, which overrides secret files "
        "(REVIEWS_SECRETS_DIR), which override the settings file. Passwords have no flag: set "
        "REVIEWS_SASL_PASSWORD and REVIEWS_SSL_KEY_PASSWORD, or use files."
    )
    parser.add_argument("--config", metavar="FILE", help="settings file, TOML [REVIEWS_CONFIG]")
    add_settings(parser, WorkerSettings)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal or the end of a drain."""
    sourced = read_settings(arguments)
    settings = sourced.settings
    logs.set_up(settings.log_format, settings.log_level)
    for warning in sourced.warnings:
        log.warning(warning)
    log.info(
        "review-consumer %s: group %s reads %s at %s, writes %s and %s, %s; bundle %s, %s threads",
        version(),
        settings.group_id,
        settings.input_topic,
        settings.bootstrap_servers,
        settings.output_topic,
        settings.dead_letter_topic,
        settings.delivery.value,
        settings.bundle,
        threads_of(settings),
    )
    log.info("settings from %s", sourced.origins)
    return serve(settings, partial(open_classifier, settings))


def threads_of(settings: WorkerSettings) -> int:
    """Inference threads: as set, else one for each available core, within reason."""
    return settings.threads or min(available_cores(), MOST_THREADS)


def open_classifier(
    settings: WorkerSettings, bundle: AnyBundle, at_work: Callable[[], None] = lambda: None
) -> Labeller:
    """Open the models of `bundle`, check them on the golden texts and warm up; `at_work` is called between the steps.

    Raises:
        BundleError: the model does not answer as it did when it was packaged.
    """
    classifier = open_labeller(bundle, settings.variant, threads_of(settings), settings.token_budget)
    try:
        at_work()
        classifier.self_check(at_work)
    except BaseException:
        classifier.close()
        raise
    return classifier


def serve(
    settings: WorkerSettings,
    open_model: OpenModel,
    at: Callable[[Step], None] = lambda _: None,
) -> int:
    """Open the parts in the order in which they can fail, run the loop, close them in reverse order.

    Args:
        settings: of this worker.
        open_model: opens the classifier of a bundle; raises `BundleError` if the bundle must not serve.
        at: see `Broker`.
    """
    fixes.apply()  # before the first Kafka client of this process
    metrics, health = Metrics(), Health(settings.watchdog_seconds)
    stop = Stop(lambda line: logs.write_unlocked(logging.INFO, line))
    metrics.ready.set_function(lambda: health.ready)
    with ExitStack() as closing:
        tracing = open_tracing(settings, metrics)
        closing.callback(tracing.close)
        page = Page(settings, health, metrics.registry, closing.enter_context(RecentLines()))
        server = HealthServer(settings.metrics_host, settings.metrics_port, health, metrics.registry, page.render)
        closing.callback(server.close)
        log.info("metrics, /live, /ready and a page for people on %s", server.url)

        health.starting("loading the model")
        opener = Opener(settings, open_model, read_canary(settings), metrics.note_lookups)
        swap = Swap(settings, opener, threads_of(settings), metrics)
        closing.callback(swap.close)

        watchdog = Watchdog(settings.watchdog_seconds)
        closing.callback(watchdog.close)

        def alive() -> None:
            watchdog.rearm()
            health.turned()

        def waiting(what: str) -> None:
            if health.starting(what):
                log.warning("waiting: %s", what)

        stop.on_signals()
        on_reload(swap.ask)
        if not settings.security_protocol.endswith("SSL") and not settings.on_this_machine:
            log.warning("the connection to Kafka is not encrypted; set security_protocol to SASL_SSL or SSL")
        health.starting(f"connecting to {settings.bootstrap_servers}")
        connection = Start(settings, on_waiting=waiting, stopping=stop.is_requested, alive=alive).connect()
        if connection is None:
            log.info("stopped before connecting to Kafka")
            return _stopped(settings)
        closing.callback(lambda: connection.close(settings.stop_timeout_seconds))

        worker = Worker(
            settings,
            tracing.channel(Broker(settings, connection, at=at, alive=alive, events=metrics)),
            swap.served.labeller,
            model=swap.served.model,
            metrics=metrics,
            health=health,
            alive=alive,
            between_polls=swap.between_polls,
            stopping=stop.is_requested,
            stopwatch=tracing.stopwatch,
        )
        closing.callback(tracing.flush)  # before the worker leaves its group, so that both take their time at once
        health.answered(Obstacle.OUTSIDE)
        log.info("ready: %s from %s", settings.delivery.value, settings.input_topic)
        swap.start()
        is_drained = worker.run()
        log.info(
            "%s: %s labelled, %s dead-lettered",
            "drained" if is_drained else "stopped",
            worker.counts["labelled"],
            worker.counts["dead_lettered"],
        )
    return 0 if is_drained else _stopped(settings)


def _stopped(settings: WorkerSettings) -> int:
    """The exit code after a request to stop.

    Raises:
        GaveUp: records were still to be drained: whoever waits for that, such as a Kubernetes Job, must not take it for
            done.
    """
    if settings.drain:
        raise GaveUp("stopped before the topic was drained; start it again to label the rest")
    return 0
