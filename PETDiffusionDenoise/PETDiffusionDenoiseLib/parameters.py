"""Everything the user set, in Slicer's parameter node: it survives saving and loading the scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import vtk

from . import units

NODES = ("pet", "ct", "mr", "labels", "lesions", "reference", "region", "result")
DEFAULTS: dict[str, Any] = {
    "method": "", "model": "", "preset": "Standard", "unit": units.AUTOMATIC, "suv_factor": 0.0, "seed": 0,
    "device": "auto", "text": "", "dose_fraction": 0.0, "register": False, "make_uncertainty": True,
    "make_masks": True, "make_tables": True, "make_difference": True,
    "all_frames": False, "frames_folder": "", "orientation": "Coronal", "window": 0.0, "window_own": 0.0, "colors": "",
}
LARGEST_SEED = 2**31 - 1
"""What the panel's box can show; another one from a script would be shown wrongly, or not at all."""
OF_THE_SCAN = ("unit", "suv_factor", "dose_fraction", "text", "all_frames", "frames_folder")
SAID_OF = "said_of"
"""The scan that they were said of: a node reference, which follows the scan where a scene that is added gives it
another ID; and a parameter that stays when the scan is gone. Older scenes have its ID in the parameter alone."""
_SAID = "true"
_CONVERT: dict[type, Callable[[str], Any]] = {str: str, int: int, float: float, bool: lambda text: text == "true"}


class Parameters:
    """Typed fields over a `vtkMRMLScriptedModuleNode`; unreadable values fall back to the default."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __getattr__(self, name: str) -> Any:
        if name in NODES:
            return self.node.GetNodeReference(name)
        if name in DEFAULTS:
            return self._read(name)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in NODES:
            self.node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        elif name in DEFAULTS:
            kind = type(DEFAULTS[name])
            self.node.SetParameter(name, ("true" if value else "false") if kind is bool else str(kind(value)))
        else:
            object.__setattr__(self, name, value)

    def _read(self, name: str) -> Any:
        default, text = DEFAULTS[name], self.node.GetParameter(name)
        if not text:
            return default
        try:
            value = _CONVERT[type(default)](text)
        except ValueError:
            return default
        return min(max(value, 0), LARGEST_SEED) if name == "seed" else value

    def choose_pet(self, node: Any) -> None:
        """Another scan: what the user said of the one before, its unit or its dose, is not said of this one."""
        before, said = self.node.GetNodeReference(SAID_OF), self.node.GetParameter(SAID_OF)
        if before is None and said != _SAID:  # nothing was chosen here yet, or the scene is an older one
            before = self.pet
        of_another = bool(said) if before is None else before is not node
        with self.together():
            if before is not None:
                self._said_of(before)
            self.pet = node
            if node is None:
                return
            if of_another:
                for name in OF_THE_SCAN:
                    setattr(self, name, DEFAULTS[name])
            self._said_of(node)

    def _said_of(self, node: Any) -> None:
        self.node.SetNodeReferenceID(SAID_OF, node.GetID())
        self.node.SetParameter(SAID_OF, _SAID)

    def options(self, method: str) -> dict[str, Any]:
        """The settings of a method that differ from its defaults."""
        try:
            found = json.loads(self.node.GetParameter(f"options.{method}") or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def set_options(self, method: str, values: dict[str, Any]) -> None:
        self.node.SetParameter(f"options.{method}", json.dumps(values, sort_keys=True))

    def keep(self, name: str, value: Any) -> None:
        """Save a setting without telling observers: for sliders, which already show it."""
        was = self.node.GetDisableModifiedEvent()
        self.node.SetDisableModifiedEvent(1)
        try:
            setattr(self, name, value)
        finally:
            self.node.SetDisableModifiedEvent(was)

    @contextmanager
    def together(self) -> Any:
        """Several changes, told to observers as one."""
        was = self.node.StartModify()
        try:
            yield
        finally:
            self.node.EndModify(was)

    def observe(self, receiver: Callable[[], None]) -> Callable[[], None]:
        """Calls `receiver` after every change; returns the function that ends it."""
        tag = self.node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: receiver())
        return lambda: self.node.RemoveObserver(tag)
