"""What travels through the loop: records, reviews, outcomes."""
