"""What `adapt` reads and writes."""
