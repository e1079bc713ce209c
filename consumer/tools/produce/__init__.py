"""`review-consumer produce`: the rows of a file, as records of the input topic, each exactly once."""
