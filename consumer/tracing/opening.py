"""From settings to tracing that is on or off. Only this module decides whether OpenTelemetry is imported."""

import logging
import os

from consumer.errors import UsageError
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.tracing.off import Off

log = logging.getLogger(__name__)


def open_tracing(settings: WorkerSettings, metrics: Metrics) -> Off:
    """Tracing as the settings, and the `OTEL_*` variables of OpenTelemetry, ask for it.

    Raises:
        UsageError: the extra is not installed, or a variable asks for what it cannot do.
    """
    if not settings.tracing:
        return Off()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        log.warning("tracing is off, because OTEL_SDK_DISABLED is true")
        return Off()
    try:
        from consumer.tracing.on import Tracing
    except ModuleNotFoundError as error:
        raise UsageError(
            f"tracing needs the module {error.name}, which is not installed: "
            "run pip install 'review-consumer[tracing]', or do not set tracing (see docs/tracing.md)"
        ) from None
    return Tracing.of_environment(settings, metrics)
