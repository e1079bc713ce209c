"""`review-consumer check`: everything that must hold before go-live, as a table with the remedy for each."""
