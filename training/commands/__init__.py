"""One module a command of `review-training`: `add_arguments` describes it, `run` does it."""
