"""A bundle that is open, checked and warm, with all that changes with it."""

from collections.abc import Callable
from dataclasses import dataclass

from consumer.model.bundle.profile import Profile
from consumer.model.cache import Cache
from consumer.model.cascade.bundle import CascadeBundle
from consumer.model.cascade.manifest import CascadeManifest
from consumer.model.labeller import Labeller
from consumer.model.opening import AnyBundle
from consumer.records.messages import Model
from consumer.serving.canary import Answers, Canary
from consumer.settings import WorkerSettings

#: Opens the models of a bundle and checks them; raises `BundleError` if they must not serve. Its second argument is
#: called between the steps; what that raises ends the work.
OpenModel = Callable[[AnyBundle, Callable[[], None]], Labeller]


@dataclass(frozen=True, slots=True)
class Served:
    """What labels texts, and what results say of it.

    Attributes:
        labeller: labels texts; whoever serves it closes it.
        model: for results.
        cascade: the manifest, if it is one.
        profile: what live reviews are compared with; None if the bundle has none.
        answers: its labels of the canary texts.
    """

    labeller: Labeller
    model: Model
    cascade: CascadeManifest | None
    profile: Profile | None
    answers: Answers

    @property
    def title(self) -> str:
        """For log lines."""
        return f"{self.model.name} {self.model.version} ({self.model.variant})"


class Opener:
    """Opens bundles one by one.

    Args:
        settings: size of the cache across polls.
        open_model: see `OpenModel`.
        canary: is answered by each.
        on_lookup: see `Cache`.
    """

    def __init__(
        self, settings: WorkerSettings, open_model: OpenModel, canary: Canary, on_lookup: Callable[[int, int], None]
    ) -> None:
        self._cache_texts = settings.cache_texts
        self._open_model = open_model
        self._canary = canary
        self._on_lookup = on_lookup

    def __call__(self, bundle: AnyBundle, at_work: Callable[[], None] = lambda: None) -> Served:
        """Open a verified `bundle`, and let it answer the canary texts.

        Args:
            bundle: verified.
            at_work: called between steps; what it raises ends the work, and nothing stays open.

        Raises:
            BundleError: it must not serve.
        """
        labeller = self._open_model(bundle, at_work)
        try:
            answers = self._canary.ask(labeller, at_work)
        except BaseException:
            labeller.close()
            raise
        manifest = bundle.manifest
        model = Model(name=manifest.name, version=manifest.version, digest=bundle.digest, variant=labeller.variant)
        if self._cache_texts:  # an empty one for each bundle
            labeller = Cache(labeller, self._cache_texts, self._on_lookup)
        cascade = bundle.manifest if isinstance(bundle, CascadeBundle) else None
        return Served(labeller, model, cascade, bundle.profile, answers)
