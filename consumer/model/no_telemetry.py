"""Import this before openvino or nncf: both report their use to an analytics service, unasked, where they can.

They do so through the package `openvino_telemetry` and do without it where it cannot be imported. An air-gapped or
regulated site must see no connection that it did not configure, so here it cannot be imported.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # how Python spells "not importable"
