"""Names of the text encoders, for those who need no more of them."""

METHOD = "pet-clip"
"""What the card of a compact CLIP says in `method`: it is no denoiser."""
COMPACT, VIT_B_32 = "pet-clip-compact", "clip-vit-b-32"
