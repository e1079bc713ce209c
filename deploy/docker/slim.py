"""Removes from the image what its worker cannot use: `slim.py ENVIRONMENT`.

The worker computes on a CPU, from models in OpenVINO's own format, and nothing in the image compiles or tests code.
Licence texts stay. The record of each package is updated, so that tools which compare files with it find no gap.
"""

import csv
import sys
from pathlib import Path

#: Relative to site-packages. A directory is removed with what is in it.
UNUSED = (
    # OpenVINO: devices other than a CPU, and the kernels that its GPU plugin was tuned to
    "openvino/libs/libopenvino_intel_gpu_plugin.so*",
    "openvino/libs/libopenvino_intel_npu_plugin.so*",
    "openvino/libs/cache.json",
    # OpenVINO: readers of other formats than its own (libopenvino_ir_frontend), and the converter that uses them
    *(
        f"openvino/libs/libopenvino_{name}_frontend.so*"
        for name in ("gguf", "jax", "onnx", "paddle", "pytorch", "tensorflow", "tensorflow_lite")
    ),
    *(f"openvino/frontend/{name}" for name in ("jax", "onnx", "paddle", "pytorch", "tensorflow")),
    "openvino/tools",
    "openvino/torch",
    # for C++
    "openvino/cmake",
    "openvino/include",
    "numpy/_core/include",
    "numpy/f2py",
    # zstandard has two backends. This one needs cffi, which is not installed.
    "zstandard/_cffi.*",
    "zstandard/backend_cffi.py",
    # tests, and types for checkers
    "**/tests",
    "**/*.pyi",
)


def slim(site: Path) -> dict[str, int]:
    """Remove what is unused; returns how many bytes each pattern freed."""
    freed = dict.fromkeys(UNUSED, 0)
    for pattern in UNUSED:
        for found in sorted(site.glob(pattern)):
            if not any(part.endswith(".dist-info") for part in found.relative_to(site).parts):
                freed[pattern] += sum(map(_remove, [*sorted(found.rglob("*"), reverse=True), found]))
    for pyc in site.rglob("__pycache__/*.pyc"):  # of a module that is gone
        if not (pyc.parent.parent / f"{pyc.name.partition('.')[0]}.py").exists():
            pyc.unlink()
    for record in site.glob("*.dist-info/RECORD"):
        with record.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if (site / row[0]).exists()]
        record.unlink()  # the installer may have linked it to its cache
        with record.open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines, lineterminator="\n").writerows(rows)
    return freed


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
        return 0
    size = path.lstat().st_size
    path.unlink()
    return size


if __name__ == "__main__":
    (packages,) = Path(sys.argv[1]).glob("lib/python3*/site-packages")
    for removed, bytes_ in slim(packages).items():
        print(f"{bytes_:12,} bytes  {removed}")
