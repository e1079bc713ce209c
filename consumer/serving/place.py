"""What stands at the path of a bundle, without reading it."""

import os
from pathlib import Path

from consumer.model.bundle.embedded import located
from consumer.model.bundle.manifest import MANIFEST

#: Device, inode, size and time of change of the manifest, after device and inode of the directory, links followed.
#: None for what is not there. It differs if another directory was renamed into place, a link on the way to it was
#: switched, or the manifest was written again. Whether that made another bundle of it, its digest tells.
Fingerprint = tuple[tuple[int, ...] | None, ...]


def fingerprint(path: Path) -> Fingerprint:
    """Of the bundle at `path`, or of the one of that name that comes with the program. Costs two calls of `stat`."""
    directory, manifest = _status(located(path)), _status(located(path) / MANIFEST)
    return (
        None if directory is None else (directory.st_dev, directory.st_ino),
        None if manifest is None else (manifest.st_dev, manifest.st_ino, manifest.st_size, manifest.st_mtime_ns),
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return None
