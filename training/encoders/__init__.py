"""The network and where it computes: base, student, vocabulary, device, processes."""
