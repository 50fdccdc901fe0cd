"""Streams of crops: the same for the same settings, never from validation or test patients."""

import os
import sys
from itertools import islice

import numpy as np
import pytest
from petdiffusion import threads
from petdiffusion.errors import OptionError, ResourceError
from petdiffusion.phantoms import recipe, stream, workers
from petdiffusion.phantoms.splits import split_of
from petdiffusion.progress import Run
from support.cylinder import cylinder

SMALL = {"kinds": ("brain",), "crop": 8, "patients": 2, "crops": 6, "workers": 0}


@pytest.fixture(autouse=True)
def quick_patients(monkeypatch):
    drawn = []

    def draw(kind, seed, *, spacing_mm=None, tracer="FDG", lesions=None, run=None):
        drawn.append(seed)
        return cylinder(seed, kind, tracer, size=16, slices=6)

    monkeypatch.setattr(recipe, "patient_of", draw)
    return drawn


def first(n, **changes):
    return list(islice(stream.Stream(**{**SMALL, **changes}), n))


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_the_same_settings_give_the_same_samples() -> None:
    assert all(same(a, b) for a, b in zip(first(9), first(9)))


def test_another_seed_gives_other_samples_of_the_same_patients(quick_patients) -> None:
    one = first(9)
    patients = list(quick_patients)
    quick_patients.clear()
    other = first(9, seed=1)
    assert quick_patients == patients
    assert not all(same(a, b) for a, b in zip(one, other))


def test_patients_are_reused_and_then_replaced(quick_patients) -> None:
    seen = [sample.seed for sample in first(30)]
    assert quick_patients == sorted(set(quick_patients)) and len(quick_patients) == 10  # 3 crops for each new patient
    places = {seed: [i for i, s in enumerate(seen) if s == seed] for seed in set(seen)}
    for seed, found in places.items():
        assert 3 * seed <= min(found) and max(found) < 3 * (seed + 2)  # in memory for two rounds of three crops


@pytest.mark.parametrize("start", [0, 12345, 799_998, 800_000, 950_000])
def test_only_training_patients_are_ever_drawn(start) -> None:
    settings = stream.Stream(**{**SMALL, "first_seed": start})
    jobs = [settings.job(number) for number in (0, 1, 2, 3, 99_999, 800_001)]
    assert {split_of(job.seed) for job in jobs} == {"train"}
    assert {split_of(sample.seed) for sample in first(8, first_seed=start)} == {"train"}


def test_a_sample_is_a_crop_of_its_patient() -> None:
    for sample in first(6, fractions=(0.5, 0.1)):
        job = stream.Stream(**{**SMALL, "fractions": (0.5, 0.1)}).job(sample.seed)
        whole = job.scan(Run())
        where = tuple(slice(c, c + 8) for c in sample.corner)
        for name, image in (("low", whole.low[sample.fraction]), ("normal", whole.normal), ("truth", whole.truth)):
            part = image.array[where]
            found = getattr(sample, name)
            assert found.shape == (8, 8, 8) and found.dtype == np.float32
            assert np.array_equal(found[:part.shape[0]], part) and not found[part.shape[0]:].any()
        assert sample.ct[sample.shape[0]:].size == 0 or (sample.ct[sample.shape[0]:] == -1000).all()
        assert sample.shape == (6, 16, 16) and sample.spacing_mm == (6.0, 6.0, 6.0)


def test_crops_can_be_flat_and_fractions_are_all_met() -> None:
    samples = first(24, crop=(1, 12, 12), fractions=(0.5, 0.25, 0.1))
    assert {s.fraction for s in samples} == {0.5, 0.25, 0.1}
    assert {s.low.shape for s in samples} == {(1, 12, 12)}


def test_lesions_are_met_more_often_than_by_chance() -> None:
    met = np.mean([s.lesions.any() for s in first(60, crop=4)])
    without = stream.LESION_SHARE
    try:
        stream.LESION_SHARE = 0.0
        by_chance = np.mean([s.lesions.any() for s in first(60, crop=4)])
    finally:
        stream.LESION_SHARE = without
    assert met > by_chance + 0.1


def test_torch_gets_tensors() -> None:
    import torch

    batch = next(iter(torch.utils.data.DataLoader(stream.as_torch(stream.Stream(**SMALL)), batch_size=3)))
    assert batch["low"].shape == (3, 8, 8, 8) and batch["low"].dtype == torch.float32
    assert batch["fraction"].shape == (3,)


@pytest.mark.parametrize("change", [{"crop": 0}, {"patients": 0}, {"crops": 0}, {"kinds": ("foot",)},
                                    {"fractions": (1.0,)}])
def test_impossible_settings_are_refused_at_once(change) -> None:
    with pytest.raises(OptionError):
        stream.Stream(**{**SMALL, **change})


def double(value, run) -> int:
    return 2 * value


def threads_at_start(_, run) -> set[str]:
    """What the numerical libraries of a fresh process read."""
    return {os.environ[name] for name in threads.READ_AT_START}


def until_stopped(_, run) -> str:
    import time

    for _ in range(2000):
        if run.cancelled.is_set():
            return "stopped"
        time.sleep(0.01)
    return "never stopped"


def test_a_pool_does_the_work_elsewhere_and_all_of_it() -> None:
    with workers.Pool(2, Run()) as pool:
        assert sorted(pool.unordered(double, [(n,) for n in range(9)])) == [2 * n for n in range(9)]
        assert pool.result(pool.submit(double, 21)) == 42


def test_processes_of_a_pool_share_the_cores(monkeypatch) -> None:
    """Each with all cores would wait for the other at every small product."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    with workers.Pool(2, Run()) as pool:
        assert pool.result(pool.submit(threads_at_start, 0)) == {"3"}
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_of_a_machine_with_many_cores_windows_uses_as_many_as_python_can_wait_for(monkeypatch) -> None:
    """Python itself refuses more there, as it does here by the system's name."""
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        pool = workers.Pool(96, Run())
    pool.close()
    assert pool.workers == workers.MOST_ON_WINDOWS
    pool = workers.Pool(96, Run())
    pool.close()
    assert pool.workers == 96


def test_closing_a_pool_stops_what_is_under_way() -> None:
    pool = workers.Pool(1, Run())
    assert pool.result(pool.submit(double, 1)) == 2
    future = pool.submit(until_stopped, 0)
    while not future.running():
        pass
    pool.close()
    assert future.result() == "stopped"


def end_at_once(_, run) -> None:
    import os

    os._exit(9)


def test_a_killed_process_is_a_named_error() -> None:
    with workers.Pool(1, Run()) as pool, pytest.raises(ResourceError, match="fewer workers"):
        list(pool.unordered(end_at_once, [(0,)]))


@pytest.mark.slow
def test_workers_give_the_samples_that_this_process_gives(monkeypatch) -> None:
    monkeypatch.undo()
    pytest.importorskip("nilearn")
    settings = {"kinds": ("brain",), "spacing_mm": 8.0, "crop": 16, "patients": 2, "crops": 4}
    alone, helped = (list(islice(stream.Stream(**settings, workers=n), 5)) for n in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, helped))
