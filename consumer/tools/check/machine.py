"""Rows about this machine: the bundle, and whether its model computes here as it was measured."""

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle
from consumer.model.cascade.bundle import load, models
from consumer.model.engines.cores import available_cores
from consumer.model.memory import granted_bytes, needed_bytes, recommended_bytes
from consumer.model.opening import AnyBundle
from consumer.run import open_classifier, threads_of
from consumer.settings import WorkerSettings
from consumer.settings.worker import Reload
from consumer.tools.check.row import Row, failed, ok, unknown, warning

SETTINGS, PORT = "settings", "metrics port"
BUNDLE, THREADS, MEMORY, PRECISION, GOLDEN = "bundle", "threads", "memory", "precision", "golden texts"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Served:
    """A model of the bundle, and the name of its precision variant that is served."""

    bundle: Bundle
    variant: str

    @classmethod
    def of(cls, bundle: Bundle, wanted: str | None) -> "_Served":
        return cls(bundle, bundle.variant(wanted)[0])


def settings_rows(settings: WorkerSettings, warnings: Sequence[str], origins: str) -> Iterator[Row]:
    """What the worker warns of when it reads its settings, and whether its port is free."""
    for line in warnings:
        found, _, remedy = line.partition("; ")
        yield warning(SETTINGS, found, remedy or "correct the name, or remove it")
    if not warnings:
        yield ok(SETTINGS, f"from {origins}")
    if settings.metrics_port:
        yield _port(settings.metrics_host, settings.metrics_port)


def _port(host: str, port: int) -> Row:
    try:
        [(family, *_, place), *_rest] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        remedy = "set another metrics_port or metrics_host; if the worker of this machine runs already, all is well"
        return warning(PORT, f"{host}:{port} cannot be used ({error.strerror})", remedy)
    return ok(PORT, f"{host}:{port} is free")


def rows(settings: WorkerSettings, granted: Callable[[], int | None] = granted_bytes) -> Iterator[Row]:
    """The bundle is sound, fits into this machine, and answers here as it was measured."""
    rest = (THREADS, MEMORY, PRECISION, GOLDEN)
    try:
        bundle = load(settings.bundle, settings.bundle_digest)
        members = [_Served.of(each, settings.variant if each is bundle else None) for each in models(bundle)]
    except BundleError as error:
        yield failed(BUNDLE, str(error), "see docs/runbook.md, exit code 3")
        yield from (unknown(name, "no bundle") for name in rest)
        return
    manifest = bundle.manifest
    pinned = "" if settings.bundle_digest else "; bundle_digest pins it"
    yield ok(BUNDLE, f"{manifest.name} {manifest.version}, digest {bundle.digest[:12]}{pinned}")
    yield _threads(settings)
    at_once = 1 if settings.reload_bundle is Reload.OFF else 2
    memory = _memory(members * at_once, threads_of(settings), granted())
    yield memory
    if memory.status == "failed":
        yield from (unknown(name, "the model would not fit into the memory") for name in (PRECISION, GOLDEN))
        return
    yield _precision(members)
    yield _golden(settings, bundle)


def _threads(settings: WorkerSettings) -> Row:
    threads, cores = threads_of(settings), available_cores()
    if threads > cores:
        return warning(THREADS, f"{threads} on {cores} cores: they wait for each other", f"set threads to {cores}")
    return ok(THREADS, f"{threads} on {cores} cores")


def _memory(members: Sequence[_Served], threads: int, granted: int | None) -> Row:
    needed = needed_bytes([(each.bundle, each.variant) for each in members], threads)
    recommended = recommended_bytes(threads)
    if granted is None:
        return unknown(MEMORY, "this system does not say how much there is")
    found = f"{granted // _MIB:,} MiB for {threads} threads; {recommended // _MIB:,} are recommended"
    if granted < needed:
        remedy = "raise the memory limit, or lower threads"
        return failed(MEMORY, f"{found}, and the model alone needs {needed // _MIB:,}", remedy)
    if granted < recommended:
        return warning(MEMORY, found, "raise the memory limit, or lower threads, token_budget and max_poll_records")
    return ok(MEMORY, found)


def _precision(members: Sequence[_Served]) -> Row:
    found, lacking = [], []
    for each in members:
        variant = each.bundle.manifest.variants[each.variant]
        found.append(f"{each.variant}, computed in {variant.compute} by {variant.engine}")
        if variant.engine == "openvino" and (wanted := variant.compute.upper()) not in _capabilities():
            lacking.append((wanted, each))
    shown = "; ".join(dict.fromkeys(found))
    if not lacking:
        return ok(PRECISION, f"{shown}; this processor has it")
    wanted, first = lacking[0]
    others = ", ".join(sorted(first.bundle.manifest.variants))
    remedy = f"serve another variant ({others}), or use a newer processor"
    return warning(PRECISION, f"{shown}; this processor has no {wanted}, and computes it more slowly", remedy)


def _capabilities() -> Sequence[str]:
    """What this processor computes itself, as OpenVINO names it."""
    from consumer.model.engines.openvino import the_core

    found: Sequence[str] = the_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _golden(settings: WorkerSettings, bundle: AnyBundle) -> Row:
    try:
        open_classifier(settings, bundle).close()
    except BundleError as error:
        return failed(GOLDEN, str(error), "serve another variant, or rebuild the bundle with this version")
    count = len(bundle.golden.texts)
    return ok(GOLDEN, f"{count} texts have the answers that they had when the bundle was built")
