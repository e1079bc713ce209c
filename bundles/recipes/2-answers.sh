#!/bin/sh
# The teacher's answers to the texts that students learn from: the training rows, except those held out, and texts
# without labels. Test rows get no answer. 17.9 texts a second on the same machine. The files in answers/ are of one
# teacher: with one that you trained yourself, name another --out.
set -eu
review-training answer --teacher runs/teacher --data train.xlsx --unlabeled unlabeled.parquet --test test.xlsx \
    --out bundles/recipes/answers
