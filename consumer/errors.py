"""Every error that this program raises on purpose, and the exit code of each.

    ReviewsError
    ├── UsageError        exit 2   wrong command line or settings; nothing was touched
    ├── BundleError       exit 3   the model bundle is refused
    ├── KafkaUnusable     exit 4   Kafka cannot be used as configured; nothing was consumed
    └── GaveUp            exit 5   a failure while running that a restart fixes; nothing was lost

Messages say what is wrong and what to do next. They never contain review text, record ids, keys or secrets.
"""

from typing import ClassVar


class ReviewsError(Exception):
    """Base of the tree; `exit_code` is the exit status of the process that ends with it."""

    exit_code: ClassVar[int] = 1


class UsageError(ReviewsError):
    """Wrong command line or settings."""

    exit_code = 2


class BundleError(ReviewsError):
    """The model bundle is missing, incomplete or changed, or its model fails the golden texts."""

    exit_code = 3


class KafkaUnusable(ReviewsError):  # noqa: N818 - the state of the cluster, not of our program
    """Kafka cannot be used as configured: address, credentials, topics or rights."""

    exit_code = 4


class GaveUp(ReviewsError):  # noqa: N818 - reads as what happened
    """The worker stopped on a failure that it cannot fix while running; the supervisor restarts it."""

    exit_code = 5
