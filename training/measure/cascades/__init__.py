"""Which member of a cascade answers what, and what that costs."""
