"""Training: one loop for all methods. A method brings a Task; data, loop, checkpoints and export are here."""
