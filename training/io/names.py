"""Names of files, models and columns: they go into records, bundles and reports, which are UTF-8."""

from consumer.errors import UsageError


def check_utf8(name: str, advice: str = "rename it") -> None:
    """Check that `name` can be written down: before the training rather than after it.

    Raises:
        UsageError: it holds bytes of another encoding, which Python keeps as lone surrogates (PEP 383).
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the name {name!r} is not UTF-8: {advice}") from None
