"""Models: one `.safetensors` and one `.json` card each; bundled here, in the user's folder, or at a path."""
