#!/bin/sh
# cascade-imdb, of the two shipped bundles. Asking both takes 16 minutes on two cores of an AMD EPYC 9004.
set -eu
review-training cascade --member bundles/student-imdb --member bundles/distilbert-imdb --choose choose.jsonl \
    --test test.xlsx --train train.xlsx --max-loss 0.2 --out bundles/cascade-imdb
review-training profile --bundle bundles/cascade-imdb --data test.xlsx
