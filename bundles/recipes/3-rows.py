"""Draws the rows of test.xlsx that may choose: thresholds, temperatures, how long reviews are read. The others measure.

`python 3-rows.py` makes choose.jsonl and rest.jsonl of test.xlsx, 10,000 rows each.
"""

import json
from pathlib import Path

import numpy as np

from training.data.reviews import read_reviews

SEED = 42

test = read_reviews(Path("test.xlsx"))
order = np.random.default_rng(SEED).permutation(len(test))
for name, rows in (("choose", order[:10_000]), ("rest", order[10_000:])):
    lines = [json.dumps({"Reviews": test.texts[row], "Sentiment": test.labels[row]}) + "\n" for row in sorted(rows)]
    Path(f"{name}.jsonl").write_text("".join(lines))
