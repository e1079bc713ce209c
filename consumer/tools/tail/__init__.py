"""`review-consumer tail`: labelled reviews, or dead letters, as they come."""
