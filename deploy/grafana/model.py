"""*Model and text*: is the model still right, and are the reviews what they were?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.parts import TABLE_ROWS, Panel, Row, above, assembled, listed, over_time

SCORES = "sum by (le) (rate(reviews_score_bucket{@}[$__rate_interval]))"
LENGTHS = "sum by (le) (rate(reviews_text_characters_bucket{@}[$__rate_interval]))"
LABELLED = "(sum(rate(reviews_labelled_total{@}[$__rate_interval])) > 0)"


def model() -> Dashboard:
    """A change on this page is a reason to look at some reviews."""
    return assembled(
        "reviews-model",
        "Reviews: model and text",
        "Is the model still right? Are the reviews what they were?",
        [
            Row("Which model answers?", served(), per_line=2),
            Row("Are its answers what they were?", answers()),
            Row("Are the reviews what they were?", texts(), per_line=2),
            Row("Does the cascade pass on as much as was measured?", cascade()),
        ],
    )


def served() -> list[Panel]:
    """What runs."""
    return [
        listed(
            "Model served",
            "More than one row: workers of one group serve different models, as during a rolling update.",
            "count by (name, version, variant, digest) (reviews_model_info{@} == 1)",
            {"name": "Model", "version": "Version", "variant": "Variant", "digest": "Digest", "Value": "Workers"},
            "reviewsmixedmodels",
            height=TABLE_ROWS,
        ),
        listed(
            "Build of the worker",
            "More than one row: a rolling update is under way, or stopped half-way.",
            "count by (version, python) (reviews_build_info{@})",
            {"version": "Version", "python": "Python", "Value": "Workers"},
            "reviewsmixedmodels",
            height=TABLE_ROWS,
        ),
    ]


def answers() -> list[Panel]:
    """What the model says."""
    return [
        over_time(
            "Labelled, by label",
            "suffix: reviews/s",
            "If a share moves, the reviews changed, or the model did.",
            {"{{label}}": "sum by (label) (rate(reviews_labelled_total{@}[$__rate_interval]))"},
            stacked=True,
        ),
        over_time(
            "Probability of the label",
            "percentunit",
            "Calibrated probability of the predicted label. A tenth of the reviews are below p10.",
            {
                "median": f"histogram_quantile(0.5, {SCORES}) >= 0",
                "p10": f"histogram_quantile(0.1, {SCORES}) >= 0",
            },
        ),
        over_time(
            "Quality of the answers",
            "percentunit",
            "Doubtful: probability of at most 0.6. Unsure: below the threshold of the model, or mostly unknown words. "
            "Truncated: longer than the model reads.",
            {
                "doubtful": 'sum(rate(reviews_score_bucket{@, le="0.6"}[$__rate_interval])) '
                "/ (sum(rate(reviews_score_count{@}[$__rate_interval])) > 0)",
                "unsure": f"sum(rate(reviews_unsure_total{{@}}[$__rate_interval])) / {LABELLED}",
                "truncated": f"sum(rate(reviews_truncated_total{{@}}[$__rate_interval])) / {LABELLED}",
            },
        ),
    ]


def texts() -> list[Panel]:
    """What the reviews are like."""
    return [
        over_time(
            "Length of a review",
            "suffix: characters",
            "Characters of the committed texts. Half are shorter than the median, nine tenths shorter than p90.",
            {
                "median": f"histogram_quantile(0.5, {LENGTHS}) >= 0",
                "p90": f"histogram_quantile(0.9, {LENGTHS}) >= 0",
            },
        ),
        over_time(
            "Records that cannot be labelled",
            "percentunit",
            "Share of all records, by reason. What each means: docs/dead-letters.md#reasons",
            {
                "{{reason}}": "sum by (reason) (rate(reviews_dead_lettered_total{@}[$__rate_interval])) "
                "/ on () group_left () (sum(rate(reviews_consumed_total{@}[$__rate_interval])) > 0) > 0"
            },
            "reviewsdeadletters",
            steps=above(0.05),
            stacked=True,
        ),
        over_time(
            "Languages",
            "suffix: reviews/s",
            "Language of the committed texts, or their script; und: too short to tell.",
            {"{{language}}": "sum by (language) (rate(reviews_languages_total{@}[$__rate_interval])) > 0"},
            "reviewsdrift",
            stacked=True,
        ),
        over_time(
            "Drift, of its limit",
            "percentunit",
            "How far the last reviews are from the profile of the model, as a share of what chance may make of it; "
            "above the line they are not alike. Empty without a profile.",
            {"{{feature}}": "max by (feature) (reviews_drift{@} / reviews_drift_limit{@})"},
            "reviewsdrift",
            steps=above(1),
        ),
    ]


def cascade() -> list[Panel]:
    """Empty for a single model."""
    of_members = "sum by (member) (rate(reviews_member_%s_total{@}[$__rate_interval]))"
    return [
        over_time(
            "Passed on",
            "percentunit",
            "Share of the reviews that a model passes on to the next one, and the range in which it was measured.",
            {
                # The last one cannot pass anything on, and has no range.
                "{{member}}": f"{of_members % 'passed_on'} / ({of_members % 'texts'} > 0) "
                "and on (member) reviews_member_expected_share{@}",
                "{{member}}, measured {{end}}": "max by (member, end) (reviews_member_expected_share{@})",
            },
            "reviewspassedonshare",
        ),
        over_time(
            "Texts of each model",
            "suffix: texts/s",
            "Different texts that each model computes. The first one reads all of them.",
            {"{{member}}": of_members % "texts"},
            "reviewspassedonshare",
        ),
        over_time(
            "Time of each model",
            "percentunit",
            "Share of a worker's time, on average, that each model takes to tokenise and infer.",
            {"{{member}}": "avg by (member) (rate(reviews_member_seconds_total{@}[$__rate_interval]))"},
            "reviewspassedonshare",
            stacked=True,
        ),
    ]
