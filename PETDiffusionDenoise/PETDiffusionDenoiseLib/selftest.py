"""Checks that run inside Slicer (Reload and Test, ctest) with the real widgets, and the backend if it is set up."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import slicer
import slicer.util
from petdiffusion import registry
from petdiffusion.volume import SUVBW

from . import backend, colors, scene, scripted, units
from .queries import Query

SHAPE = (24, 32, 32)


def a_pet(name: str = "Self-test PET") -> Any:
    """A ball of activity in noise, with unit and display."""
    z, y, x = np.mgrid[:SHAPE[0], :SHAPE[1], :SHAPE[2]].astype(np.float32)
    ball = ((x - 16) ** 2 + (y - 16) ** 2 + (z - 12) ** 2) < 49
    array = np.random.default_rng(0).gamma(4.0, 0.25, SHAPE).astype(np.float32) * (1 + 3 * ball)
    node = slicer.mrmlScene.AddNewNodeByClass(scene.SCALAR, name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetSpacing(4.0, 4.0, 4.0)
    node.CreateDefaultDisplayNodes()
    node.SetAttribute("DICOM.Modality", "PT")
    units.mark(node, SUVBW)
    return node


def volumes_keep_their_place(test: Any) -> None:
    """Volumes keep their place"""
    node = a_pet()
    volume = scene.volume_of(node, SUVBW)
    copy = scene.add_volume(volume.array, node, "copy")
    colors.like_input(copy, node)
    test.assertEqual(scene.geometry_of(copy), volume.geometry)
    test.assertTrue(np.array_equal(slicer.util.arrayFromVolume(copy), volume.array))


def methods_are_listed(test: Any) -> None:
    """Methods are listed"""
    test.assertGreater(len(registry.cards()), 0)


def the_panel_opens_and_is_ready(test: Any) -> None:
    """The panel opens"""
    a_pet()
    slicer.util.selectModule("PETDiffusionDenoise")
    widget = slicer.util.getModuleWidget("PETDiffusionDenoise")
    widget.enter()
    panel = widget.panel
    test.assertGreater(panel.ui.methodCombo.count, 0)
    test.assertIsNotNone(panel.parameters.pet)
    test.assertEqual(bool(panel.ui.applyButton.enabled), panel.reason() is None)


def a_pet_is_denoised(test: Any) -> None:
    """A PET is denoised by the backend"""
    if not backend_is_ready():
        logging.warning("PETDiffusion self-test: the backend is not set up, so no PET was denoised.")
        return
    pet = a_pet()
    nodes = scripted.denoise(pet, "gaussian")
    low, denoised = slicer.util.arrayFromVolume(pet), slicer.util.arrayFromVolume(nodes.denoised)
    test.assertEqual(denoised.shape, low.shape)
    test.assertLess(denoised[2:6, 2:6, 2:6].std(), low[2:6, 2:6, 2:6].std())
    test.assertEqual(nodes.denoised.GetVoxelValueUnits().GetCodeValue(), pet.GetVoxelValueUnits().GetCodeValue())


def backend_is_ready() -> bool:
    """Does the chosen Python have what the program needs?"""
    answer: dict[str, Any] = {}
    query = Query(backend.chosen(), ["doctor", "--json"], lambda found, text, code: answer.update(found or {}))
    query.start()
    query.wait(slicer.app.processEvents)
    return bool(answer.get("usable"))


CHECKS = (volumes_keep_their_place, methods_are_listed, the_panel_opens_and_is_ready, a_pet_is_denoised)
