"""Draw the dashboards from a running Prometheus: `python -m deploy.grafana.picture http://localhost:9090`.

Grafana is not needed: queries, grid, thresholds and annotations are those of the committed dashboards.
"""

import argparse
import sys
import time
import urllib.error
from pathlib import Path

from deploy.grafana.draw import Drawing
from deploy.grafana.queries import Prometheus, boards


def main(arguments: list[str] | None = None) -> int:
    """Draw one picture for each dashboard."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.picture", description=__doc__)
    parser.add_argument("prometheus", metavar="URL", help="address of Prometheus, such as http://localhost:9090")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="where to (default: here)")
    parser.add_argument("--minutes", type=float, default=15, help="how much time to show, until now (default: 15)")
    parser.add_argument("--scrape", type=float, default=5, help="seconds between two scrapes (default: 5)")
    chosen = parser.parse_args(arguments)
    if chosen.minutes <= 0 or chosen.scrape <= 0:
        parser.error("--minutes and --scrape have to be more than 0")
    now = time.time()
    source = Prometheus(
        url=chosen.prometheus.rstrip("/"),
        start=now - 60 * chosen.minutes,
        end=now,
        step=max(1, round(60 * chosen.minutes / 300)),
        scrape=chosen.scrape,
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    try:
        for board in boards():
            path = chosen.out / f"dashboard-{board.name}.png"
            Drawing(board, source).save(path)
            print(path)
    except (urllib.error.URLError, ValueError) as error:
        print(f"{chosen.prometheus} cannot be asked: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
