"""From files to rows: read, checked, deduplicated, held out."""
