"""Many cases by many methods: numbers whole, per organ, per lesion and per patient, tested, drawn and explained."""

from .run import Ask, evaluate

__all__ = ["Ask", "evaluate"]
