"""The models of ktrain's text classification tutorial, small and plain, to compare a bundle with.

One module a family: `linear` (nbsvm, logreg), `bag` (fasttext), `recurrent` (bigru, standard_gru), `encoders` (bert,
distilbert). `models` builds them by name.
"""
