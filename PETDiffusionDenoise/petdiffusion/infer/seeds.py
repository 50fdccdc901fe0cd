"""One random generator for each sample, so that sample i is the same whatever else is drawn.

Noise is drawn on the CPU over the whole volume and moved: every device starts from the same field, and all patches of a
volume see one field.
"""

from __future__ import annotations

import numpy as np
import torch


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The generator of sample `index` of a run with this seed."""
    state = np.random.SeedSequence(entropy=seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def sample_generators(seed: int, count: int, first: int = 0) -> list[torch.Generator]:
    """Generators of samples first .. first + count - 1."""
    return [sample_generator(seed, first + i) for i in range(count)]
