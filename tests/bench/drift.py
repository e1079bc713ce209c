"""How soon other texts are noticed, and how quiet usual ones are: `python -m tests.bench.drift --data test.xlsx`.

The film reviews are rows of the file that the profile of the bundle was not measured on. The others are generated
(tests/other_texts.py). `--write FILE` keeps what is compared of the film reviews, for the tests; no text is in it.
"""

import argparse
import csv
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from consumer.model.bundle.profile import Answered, Feature, Profile
from consumer.model.cascade.bundle import load
from consumer.model.opening import open_labeller
from tests.drifting import answers, looks, loud_after
from tests.other_texts import complaints, german_reviews
from training.data.reviews import drawn, read_reviews
from training.measure.reports.report import LIMIT_SEED

SEED = 7


def unseen(path: Path, profile: Profile, rows: int) -> list[str]:
    """At most `rows` texts of the file that the profile was not measured on, in the order of the file."""
    reviews = read_reviews(path, learned=False)
    known = set(drawn(len(reviews), profile.rows, LIMIT_SEED)) if reviews.sha256 == profile.data.sha256 else set()
    return [text for row, text in enumerate(reviews.texts) if row not in known][:rows]


def highest(profile: Profile, window: int, found: list[Answered]) -> Mapping[Feature, float]:
    """The highest divergence of each feature as a share of its limit."""
    shares = dict.fromkeys(Feature, 0.0)
    for look in looks(profile, window, found):
        for feature, drift in look.drift.items():
            shares[feature] = max(shares[feature], drift / look.limits[feature])
    return shares


def main() -> int:
    """Print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="film reviews, with labels")
    parser.add_argument("--bundle", type=Path, default=Path("bundles/cascade-imdb"), help="with a profile")
    parser.add_argument("--rows", type=int, default=5000, help="film reviews (5000)")
    parser.add_argument("--complaints", type=int, default=2000, help="complaints (2000)")
    parser.add_argument("--german", type=int, default=500, help="German reviews (500)")
    parser.add_argument("--window", type=int, default=1000, help="drift_window (1000)")
    parser.add_argument("--write", type=Path, help="write what is compared of the film reviews")
    arguments = parser.parse_args()
    bundle = load(arguments.bundle)
    if (profile := bundle.profile) is None:
        parser.error(f"{arguments.bundle} has no profile")
    with closing(open_labeller(bundle)) as labeller:
        films = answers(labeller, unseen(arguments.data, profile, arguments.rows))
        others = {
            "complaints about products": answers(labeller, complaints(arguments.complaints, SEED)),
            "German film reviews": answers(labeller, german_reviews(arguments.german, SEED)),
        }
    if arguments.write:
        with arguments.write.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Answered._fields)
            writer.writerows(each._replace(score=round(each.score, 4)) for each in films)
    print(f"{bundle.manifest.name}, profile of {profile.rows} texts, window of {arguments.window}\n")
    print("| traffic | " + " | ".join(Feature) + " |\n|---|" + "---|" * len(Feature))
    for name, found in {"film reviews": films, **others}.items():
        shares = highest(profile, arguments.window, found)
        print(f"| {len(found)} {name} | " + " | ".join(f"{shares[feature]:.2f}" for feature in Feature) + " |")
    print("\n| loud after | worker just started | in the middle of film reviews |\n|---|---|---|")
    for name, found in others.items():
        cells = [as_cell(loud_after(profile, arguments.window, before, found)) for before in ([], films)]
        print(f"| {name} | {cells[0]} | {cells[1]} |")
    return 0


def as_cell(found: Mapping[Feature, int]) -> str:
    """Features and after how many reviews they were loud, the first one first."""
    return ", ".join(f"{feature} {reviews}" for feature, reviews in sorted(found.items(), key=lambda each: each[1]))


if __name__ == "__main__":
    sys.exit(main())
