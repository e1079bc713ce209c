#!/bin/sh
# distilbert-imdb, from the teacher's answers. It starts from the version before it, which docs/models.md tells how to
# make, and learns twice: from the two ends of long reviews, then from their windows, as it is served. The second time
# the texts without labels come in another order, so that it reads others of them.
set -eu
mkdir -p runs/before
git archive f2f2a87 bundles/distilbert-imdb | tar -x -C runs/before
review-training restore runs/before/bundles/distilbert-imdb --out runs/distilbert-base
review-training distil --train train.xlsx --test test.xlsx --unlabeled unlabeled.parquet \
    --answers bundles/recipes/answers --base runs/distilbert-base --student half --layers 6 --freeze 3 \
    --train-max-length 192 --max-length 384 --epochs 0.6 --learning-rate 4e-5 --temperature 2 --soft-weight 1 \
    --label-weight 0.5 --seed 42 --keep int8,torch --test-rows 2000 --gate-rows 500 --max-int8-drop 1 \
    --license Apache-2.0 --name distilbert-part-1 --out runs/part-1
python -c 'import pandas; pandas.read_parquet("unlabeled.parquet").sample(frac=1, random_state=1).to_parquet("other.parquet")'
review-training distil --train train.xlsx --test test.xlsx --unlabeled other.parquet \
    --answers bundles/recipes/answers --base runs/part-1 --student half --layers 6 --freeze 3 --truncation windows \
    --train-max-length 384 --max-length 384 --epochs 0.28 --learning-rate 2e-5 --temperature 2 --soft-weight 1 \
    --label-weight 0.5 --seed 42 --keep int8 --max-int8-drop 0.2 --license Apache-2.0 --name distilbert-imdb \
    --out runs/part-2
# On held-out training rows, which the version before had seen, it would come out too sure.
review-training calibrate --bundle runs/part-2 --data choose.jsonl --out bundles/distilbert-imdb
review-training profile --bundle bundles/distilbert-imdb --data test.xlsx
