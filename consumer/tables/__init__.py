"""Tables of reviews as people have them, read row by row: the definition that sending, labelling and training share."""
