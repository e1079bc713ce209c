"""What a model says of each text of a file: asked, kept and written."""
