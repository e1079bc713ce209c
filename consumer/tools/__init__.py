"""Everyday tools around a running worker: each is a subcommand of `review-consumer`, and none starts a worker."""
