"""What was measured, for people: reports as text and as pages."""
