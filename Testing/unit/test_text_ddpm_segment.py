"""TotalSegmentator as a program of its own, played by small scripts: its result, its progress, and all its failures."""

import os
import stat
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pytest
from petdiffusion.errors import Cancelled, DependencyError, GeometryError, InputError
from petdiffusion.methods.text_ddpm import segment
from petdiffusion.progress import Run
from petdiffusion.volume import HU, Geometry, Volume

GRID = Geometry((8, 6, 5), (4.0, 4.0, 4.0), (-10.0, 5.0, 20.0))
RESULT = """
import nibabel, numpy, sys, time
image = nibabel.load(sys.argv[sys.argv.index("-i") + 1])
labels = numpy.where(image.get_fdata() > 0, 5, 0).astype("uint8")
sys.stderr.write("\\r 10%|#         | 1/10"); sys.stderr.flush(); time.sleep(0.3)
sys.stderr.write("\\r 60%|######    | 6/10"); sys.stderr.flush(); time.sleep(0.3)
nibabel.save(nibabel.Nifti1Image(labels * {factor}, image.affine), sys.argv[sys.argv.index("-o") + 1])
"""


@pytest.fixture
def image():
    array = np.full(GRID.shape, -1000.0, np.float32)
    array[1:4, 2:4, 2:6] = 50.0
    return Volume(array, GRID, HU)


@pytest.fixture
def play(tmp_path, monkeypatch):
    def played(code):
        path = tmp_path / "bin" / segment.PROGRAM
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", str(path.parent))

    return played


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a first line")


def run_on(image, wait_s=20.0, run=None, kind="ct"):
    return segment.segmented(image, kind, GRID, wait_s, run or Run())


def test_organs_lie_where_the_program_says_and_have_their_names(play, image):
    play(RESULT.format(factor=1))
    found = run_on(image)
    assert found.geometry.close_to(GRID) and found.present() == {5: "liver"}
    np.testing.assert_array_equal(found.array == 5, image.array > 0)


def test_its_progress_is_passed_on(play, image):
    play(RESULT.format(factor=1))
    seen = []
    run_on(image, run=Run(report=lambda e: seen.append(e["fraction"]) if e["event"] == "progress" else None))
    assert seen == [0.1, 0.6, 1.0]


def test_the_task_is_that_of_the_image(play, image):
    play("import sys; print(*sys.argv[-2:]); sys.exit(3)")
    for kind, task in (("ct", "--task total"), ("mr", "--task total_mr")):
        with pytest.raises(DependencyError, match=rf"{task}[ )]"):
            run_on(image, kind=kind)


def test_missing(monkeypatch, tmp_path, image):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(segment.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(segment.sysconfig, "get_path", lambda kind: str(tmp_path))
    with pytest.raises(DependencyError, match="is not installed"):
        run_on(image)


def test_it_is_found_where_pip_puts_programs(play, image, monkeypatch, tmp_path):
    """`Scripts` beside the Python of Windows, which is not on the path of a Slicer."""
    play(RESULT.format(factor=1))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(segment.sysconfig, "get_path", lambda kind: {"scripts": str(tmp_path / "bin")}[kind])
    assert run_on(image).present() == {5: "liver"}


def test_missing_weights(play, image):
    play("raise ConnectionError('Max retries exceeded with url: /weights.zip')")
    with pytest.raises(DependencyError, match="weights: are not on this machine"):
        run_on(image)


def test_failing(play, image):
    play("import sys; print('a last word'); sys.exit(7)")
    with pytest.raises(DependencyError, match=r"code 7 \(a last word\)"):
        run_on(image)


def test_no_result_and_an_empty_one(play, image):
    play("pass")
    with pytest.raises(DependencyError, match="ended without a result"):
        run_on(image)
    play(RESULT.format(factor=0))
    with pytest.raises(InputError, match="holds no structure"):
        run_on(image)


def test_hanging_is_ended_with_its_children(play, image):
    play("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(321.5)'])")
    before = time.monotonic()
    with pytest.raises(DependencyError, match="no sign of life for 1 s"):
        run_on(image, wait_s=1.0)
    assert time.monotonic() - before < 15
    left = [p for p in psutil.process_iter(["cmdline"]) if "time.sleep(321.5)" in " ".join(p.info["cmdline"] or [])]
    alive = psutil.wait_procs(left, timeout=5)[1]
    assert all(p.status() == psutil.STATUS_ZOMBIE for p in alive), "what ended may not have been looked after yet"


def test_a_cancel_ends_it(play, image):
    play("import time; time.sleep(60)")
    run = Run()
    threading.Timer(0.5, run.cancelled.set).start()
    with pytest.raises(Cancelled):
        run_on(image, run=run)


def test_a_cancel_is_told_though_a_file_cannot_be_removed_yet(play, image, monkeypatch, tmp_path):
    """Windows removes none that a process that is just ending has open."""
    play("import time; time.sleep(60)")
    real, run = os.unlink, Run()

    def unlink(path, *more, **named):
        if str(path).endswith("image.nii.gz"):
            raise PermissionError(13, "in use", str(path))
        real(path, *more, **named)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "unlink", unlink)
    threading.Timer(0.5, run.cancelled.set).start()
    with pytest.raises(Cancelled):
        run_on(image, run=run)


def test_an_image_from_elsewhere_is_refused_before_the_work(play, image):
    play("import time; time.sleep(60)")
    far = Volume(image.array, Geometry(GRID.size, GRID.spacing, (900.0, 0.0, 0.0)), HU)
    with pytest.raises(GeometryError, match="does not overlap"):
        run_on(far)
