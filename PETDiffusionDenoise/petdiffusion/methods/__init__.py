"""Methods: one folder each; each package lists its cards in `CARDS` and is found by the registry."""
