"""A straight line and points of it: the smallest training there is, without images and patients."""

from __future__ import annotations

import torch


class Line:
    """A task whose network gives no image: it has numbers of its own, and no `judge`."""

    method, config = "line", {}

    def network(self):
        return torch.nn.Linear(1, 1)

    def calibrate(self, batches):
        """Nothing is left open."""

    def loss(self, network, batch, generator):
        return ((network(batch["x"]) - batch["y"]) ** 2).mean()

    def score(self, network, batches):
        return {"batches": float(len(batches)), "at_0": float(network(torch.zeros(1)))}


class Points:
    def batch(self, step, rank):
        x = torch.linspace(-1, 1, 5)[:, None]
        return {"x": x, "y": 2 * x}

    def validation(self):
        return [self.batch(0, 0)] * 3

    def describe(self):
        return {"source": "a line"}


class People(Points):
    """Points that are said to be of patients."""

    def __init__(self, train, valid=("v",)):
        self.names = {"training_patients": list(train), "validation_patients": list(valid)}

    def describe(self):
        return {"source": "a line", **self.names}
