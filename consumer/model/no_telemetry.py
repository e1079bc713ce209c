"""Import this before openvino or nncf: both report their use to an analytics service by default.

They report through the package `openvino_telemetry`, and work without it if it cannot be imported. An air-gapped or
regulated site must see no connection that it did not configure, so this module makes that import fail.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # Python's way to block an import
