"""Messages in English: one of a thing is no several, and an MR is no a MR."""

import pytest
from petdiffusion import read
from petdiffusion.errors import PETDiffusionError
from petdiffusion.measure import cautions
from petdiffusion.progress import Run
from petdiffusion.wording import an, counted


def test_one_of_a_thing_is_no_several():
    assert [counted(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]


@pytest.mark.parametrize("said", ["an MR", "an SUV", "a CT", "a PET", "a REFERENCE", "an image", "a body", "a unit",
                                  "an NM", "a GE", "a LABELS", "a CT or MR"])  # fmt: skip
def test_the_article_is_that_of_the_sound(said):
    assert an(said.partition(" ")[2]) == said


@pytest.mark.parametrize(("asked", "said"), [
    (lambda: read.image("a.nii", "mr", weight_kg=70), "Weight 70 for an MR"),
    (lambda: read.image("a.nii", "ct", weight_kg=70), "Weight 70 for a CT"),
    (lambda: read.image("a.nii", "mr", unit="HU"), "not one an MR can have")])  # fmt: skip
def test_errors_have_it(asked, said):
    with pytest.raises(PETDiffusionError) as caught:
        asked()
    assert said in str(caught.value)


def test_what_a_reader_should_look_at_again_counts_one_lesion():
    rows = [{"number": 1, "contrast_denoised": 0.5, "SUVpeak_denoised_vs_low_percent": 90.0}]
    said = cautions.cautions({"lesions": rows})
    assert [text for text in said if "1 of 1 lesion is colder" in text]
    assert [text for text in said if "in 1 of 1 lesion:" in text]


def test_a_batch_of_one_says_so(tmp_path):
    from petdiffusion.batch import run_batch

    run = Run(report=(said := []).append)
    run_batch([tmp_path / "none.nii"], tmp_path / "out", "gaussian", run=run)
    assert "1 case" in [event["text"] for event in said if event["event"] == "stage"]
