"""Opens what labels texts: the model of a bundle, or the models of a cascade."""

from contextlib import ExitStack
from pathlib import Path

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle
from consumer.model.cascade.bundle import CascadeBundle, load
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine

AnyBundle = Bundle | CascadeBundle


def open_labeller(
    bundle: AnyBundle, variant: str | None = None, threads: int | None = None, token_budget: int | None = None
) -> Classifier | Cascade:
    """The model or the models of a verified `bundle`.

    Args:
        bundle: of a single model, or a cascade.
        variant: precision variant; None: the one served by default. A cascade has one only.
        threads: of inference; None: one for each core.
        token_budget: most padded tokens of a batch; None: that of the engine.

    Raises:
        BundleError: there is no such variant, or an engine cannot read the files.
    """
    if isinstance(bundle, Bundle):
        return Classifier(bundle, open_engine(bundle, variant, threads), token_budget=token_budget)
    if variant not in (None, bundle.manifest.variant):
        raise BundleError(
            f"{bundle.path} is a cascade and was measured with {bundle.manifest.variant} only; it has no variant "
            f"{variant!r}"
        )
    with ExitStack() as opened:
        members = []
        for member in bundle.members:
            members.append(Classifier(member, open_engine(member, None, threads), token_budget=token_budget))
            opened.callback(members[-1].close)
        opened.pop_all()
    return Cascade(bundle, members)


def load_labeller(path: Path, variant: str | None = None) -> Classifier | Cascade:
    """The model or the models of the bundle at `path`, verified; see `open_labeller`."""
    return open_labeller(load(path), variant)
