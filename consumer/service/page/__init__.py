"""The page at `/` of the metrics port: what a person wants to know of one worker. No review text, no script."""
