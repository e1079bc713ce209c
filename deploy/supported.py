"""Report at once if this machine cannot run the worker: `python deploy/supported.py`, the first step of `make`.

Runs on any Python 3.6 and imports nothing that has to be installed. The inference engine, OpenVINO, has packages for
few platforms. Without this check the installation ends with a list of wheels that do not fit.
"""

import os
import platform
import sys

#: The oldest and the newest Python that it has packages for.
PYTHON = ((3, 11), (3, 14))
#: The oldest glibc for each processor, and the oldest macOS, that OpenVINO has packages for.
GLIBC = {"x86_64": (2, 28), "aarch64": (2, 35)}
MACOS = (11, 0)
INSTEAD = "use the container image (docs/deploy.md), or one of the systems that docs/quick-start.md lists"


def problem(*, python=None, implementation=None, system=None, machine=None, libc=None, macos=None, bits=None):
    """What is wrong with a machine, in one line; empty if nothing is. Default: this machine.

    Args:
        python: version, such as (3, 11).
        implementation: such as "cpython".
        system: "Linux", "Darwin" or another.
        machine: processor, such as "x86_64".
        libc: name and version of the C library, such as "glibc 2.36"; empty if it is not glibc.
        macos: version, such as "14.5".
        bits: of a pointer.
    """
    python = python or tuple(sys.version_info[:2])
    implementation = implementation or sys.implementation.name
    system, machine = system or platform.system(), (machine or platform.machine()).lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    libc = _libc() if libc is None else libc
    macos = platform.mac_ver()[0] if macos is None else macos
    bits = bits or (64 if sys.maxsize > 2**32 else 32)
    if not PYTHON[0] <= python <= PYTHON[1] or implementation != "cpython":
        oldest, newest = (".".join(map(str, version)) for version in PYTHON)
        found = f"{implementation} {'.'.join(map(str, python))}"
        return f"CPython {oldest} to {newest} is needed, and this is {found}; set PYTHON=/path/to/python3"
    if bits != 64:
        return "a 64-bit Python is needed; " + INSTEAD
    if system == "Darwin":
        if machine != "aarch64":
            return "Macs with Intel processors (or Python under Rosetta) are not supported; " + INSTEAD
        return "" if _version(macos) >= MACOS else f"macOS {MACOS[0]} or newer is needed"
    if system != "Linux":
        return f"{system or 'this system'} is not supported; on Windows use WSL, or {INSTEAD}"
    if machine not in GLIBC:
        return f"processors of type {machine} are not supported; {INSTEAD}"
    if not libc.startswith("glibc "):
        return "this Linux has another C library than glibc (musl, as in Alpine?), which is not supported; " + INSTEAD
    if _version(libc.split()[1]) < GLIBC[machine]:
        wanted = ".".join(map(str, GLIBC[machine]))
        return f"glibc {wanted} or newer is needed on {machine}, and this is {libc}; {INSTEAD}"
    return ""


def _libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # musl, or no POSIX
        return ""


def _version(text):
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


if __name__ == "__main__":
    found = problem()
    sys.exit("review-consumer: " + found if found else 0)
