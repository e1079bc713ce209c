"""`review-consumer dlq`: count, list, show, replay and export dead letters."""
