"""Everything that a bundle has to pass before it takes the place of the one that is served."""

import logging
from collections.abc import Callable

from consumer.errors import BundleError
from consumer.model.bundle.files import read_manifest
from consumer.model.bundle.loading import Bundle
from consumer.model.cascade.bundle import load, models
from consumer.model.memory import free_bytes, opening_bytes
from consumer.model.opening import AnyBundle
from consumer.service.table import SwapEnd
from consumer.serving.canary import differing
from consumer.serving.served import Opener, Served
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

_MIB = 1 << 20


class RefusedError(Exception):
    """The bundle must not serve; `end` is the kind of reason."""

    def __init__(self, end: SwapEnd, why: str) -> None:
        super().__init__(why)
        self.end = end


class ClosedError(Exception):
    """The worker stops meanwhile."""


class Preparation:
    """Opens what stands at the path of the bundle: checksums, labels, memory, golden texts, warm-up, canary texts.

    Args:
        settings: the path, and the limits.
        opener: opens bundles.
        threads: of inference.
        is_closed: whether to give up; asked between the steps.
    """

    def __init__(self, settings: WorkerSettings, opener: Opener, threads: int, is_closed: Callable[[], bool]) -> None:
        self._settings = settings
        self._opener = opener
        self._threads = threads
        self._is_closed = is_closed

    def first(self) -> Served:
        """The bundle that is served first.

        Raises:
            BundleError: it must not serve.
        """
        return self._opener(load(self._settings.bundle, self._settings.bundle_digest))

    def next(self, before: Served) -> Served | None:
        """The bundle that takes the place of `before`; None if it is the same one.

        Raises:
            RefusedError: it must not serve.
            ClosedError: the worker stops.
        """
        try:
            served = self._opened(before)
        except BundleError as error:
            raise RefusedError(SwapEnd.INVALID, str(error)) from None
        except (RefusedError, ClosedError):
            raise
        except MemoryError:
            raise RefusedError(SwapEnd.MEMORY, "the memory did not suffice to open it") from None
        except Exception as error:  # of the engine: whatever it is, the old model goes on
            raise RefusedError(SwapEnd.INVALID, f"opening it fails ({type(error).__name__})") from None
        if served is not None:
            self._check_canary(before, served)
        return served

    def _opened(self, before: Served) -> Served | None:
        settings = self._settings
        _, _, digest = read_manifest(settings.bundle, settings.bundle_digest)
        if digest == before.model.digest:
            return None
        log.info("another bundle is at %s, digest %s: preparing it", settings.bundle, digest[:12])
        bundle = load(settings.bundle, digest)
        _check_labels(before.labeller.labels, bundle.manifest.labels)
        self._check_memory(bundle)
        self._go_on()
        return self._opener(bundle, self._go_on)

    def _check_memory(self, bundle: AnyBundle) -> None:
        variant = self._settings.variant if isinstance(bundle, Bundle) else None
        needed = opening_bytes(((each, each.variant(variant)[0]) for each in models(bundle)), self._threads)
        free = free_bytes()
        if free is not None and free < needed:
            raise RefusedError(
                SwapEnd.MEMORY,
                f"it needs {needed // _MIB:,} MiB beside the model that is served, and {free // _MIB:,} MiB are free; "
                "raise the memory limit, or restart the worker to serve it",
            )

    def _check_canary(self, before: Served, served: Served) -> None:
        differ, most = differing(before.answers, served.answers), self._settings.max_disagreement
        if differ > most * len(served.answers):
            served.labeller.close()
            raise RefusedError(
                SwapEnd.CANARY,
                f"it labels {differ} of the {len(served.answers)} texts of canary_file differently, more than "
                f"max_disagreement ({most:g}) allows",
            )

    def _go_on(self) -> None:
        if self._is_closed():
            raise ClosedError


def _check_labels(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Readers of the results may not know other labels: only a restart brings these."""
    if set(before) != set(after):
        raise RefusedError(
            SwapEnd.LABELS,
            f"its labels are {', '.join(after)}, not {', '.join(before)}; if the readers of the results know them, "
            "restart the workers to serve it",
        )
