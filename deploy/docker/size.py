"""Fails if the image grows too large: `size.py MEGABYTES DIRECTORY...`, all its directories together.

With /, only the file system of the base image counts: neither what is mounted nor what the build itself put there.
Megabytes are millions of bytes, uncompressed, as `docker image ls` counts.
"""

import os
import sys
from pathlib import Path

#: Of the stage that builds the image; no part of the image, or counted by its own name.
BUILD = {"/build", "/opt", "/root", "/tmp"}  # noqa: S108 (a name to leave out)


def size(directory: Path) -> int:
    """Bytes of all files below `directory` on its own file system."""
    device, total = directory.lstat().st_dev, 0
    for where, directories, files in os.walk(directory):
        if directory == Path("/"):
            directories[:] = [name for name in directories if os.path.join(where, name) not in BUILD]  # noqa: PTH118
        directories[:] = [name for name in directories if Path(where, name).lstat().st_dev == device]
        total += sum(Path(where, name).lstat().st_size for name in files)
    return total


if __name__ == "__main__":
    limit = int(sys.argv[1]) * 1_000_000
    sizes = {name: size(Path(name)) for name in sys.argv[2:]}
    for name, taken in sizes.items():
        print(f"{taken / 1e6:8.1f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total / 1e6:8.1f} MB  in all, of at most {limit / 1e6:.0f}")
    sys.exit(total > limit and "the image is too large")
