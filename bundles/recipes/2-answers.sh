#!/bin/sh
# What the teacher says of the texts that students learn from: the training rows but those held out, and texts without
# labels. Test rows get no answer. 17 texts a second on the same machine. The files are in answers/, so nobody has to
# train and ask the teacher again.
set -eu
review-training answer --teacher runs/teacher --data train.xlsx --unlabeled unlabeled.parquet --test test.xlsx \
    --out bundles/recipes/answers
