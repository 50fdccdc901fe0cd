"""A training that goes on: longer or with other patients, which stay on record; whatever would change it is refused."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from petdiffusion.cli import main
from petdiffusion.errors import OutputError, TrainingError
from petdiffusion.methods.csrd.task import CsrdTask
from petdiffusion.progress import Run
from petdiffusion.training import checkpoint, loop
from petdiffusion.training.average import moving_average
from petdiffusion.training.bank import load_bank
from petdiffusion.training.checkpoint import FACTS, STATE, load
from petdiffusion.training.export import _without_names, export
from petdiffusion.training.log import Log
from petdiffusion.training.loop import train
from petdiffusion.training.manifest import collect
from petdiffusion.training.settings import TrainSettings
from petdiffusion.write.lock import alone_in
from safetensors.torch import load_file
from support.line import Line, People, Points
from support.tiny_bank import write_dataset
from support.tiny_models import NETWORK
from test_training_export import FACTS as SAID


def settings(**changes):
    return TrainSettings(**{"steps": 2, "validate_every": 1, "precision": "32-true", **changes})


def go(folder, people="ab", origin=None, valid="v", **changes):
    train(Line(), People(people, valid), settings(**changes), folder, origin=origin)
    return plan_of(folder)


def plan_of(folder):
    return json.loads((folder / "plan.json").read_text())


def steps_in(folder):
    return [int(row["step"]) for row in csv.DictReader((folder / "log.csv").open())]


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("change", [{"seed": 7}, {"learning_rate": 0.01}, {"batch": 8}, {"accumulate": 2},
                                    {"patch": 32}, {"ema_decay": 0.5}])  # fmt: skip
def test_another_setting_midway_is_refused_and_nothing_is_rewritten(tmp_path, change):
    go(tmp_path / "t")
    before, (name, value) = contents(tmp_path / "t"), *change.items()
    with pytest.raises(TrainingError, match=f"was begun with {name} = .*, not {value}"):
        go(tmp_path / "t", steps=4, **change)
    assert contents(tmp_path / "t") == before


def test_a_folder_in_which_nothing_was_learnt_says_how_it_becomes_free(tmp_path):
    """Earlier versions kept a checkpoint where the first step failed, as by a patch that there was no memory for."""
    go(tmp_path / "t")
    tensors, facts = load_file(tmp_path / "t" / STATE), checkpoint.facts_of(tmp_path / "t")
    checkpoint.write(tensors, tmp_path / "t" / STATE, {"facts": json.dumps({**facts, "step": 0, "losses": []})})
    with pytest.raises(TrainingError, match=r"was begun with patch = .*, not 32") as caught:
        go(tmp_path / "t", steps=2, patch=32)
    assert f"Nothing was learnt in it yet: remove {STATE}" in caught.value.remedy
    (tmp_path / "t" / STATE).unlink()
    assert go(tmp_path / "t", steps=2, patch=32)["settings"]["patch"] == 32
    with pytest.raises(TrainingError, match="was begun with") as caught:
        go(tmp_path / "t", steps=4, patch=16)
    assert "takes over its weights" in caught.value.remedy


def test_a_longer_training_with_more_patients_keeps_on_record_what_it_was(tmp_path):
    first = go(tmp_path / "t", "a")
    longer = go(tmp_path / "t", "abc", steps=4, validate_every=2)
    assert longer["data"]["training_patients"] == ["a", "b", "c"] and longer["settings"]["steps"] == 4
    until_2, until_4 = ({name: plan[name] for name in ("settings", "data", "judged_by")} for plan in (first, longer))
    assert longer["earlier"] == [{"until_step": 2, **until_2}]
    assert go(tmp_path / "t", "abc", steps=4, validate_every=2) == longer
    last = go(tmp_path / "t", "c", steps=6)
    assert last["earlier"] == [*longer["earlier"], {"until_step": 4, **until_4}]


def test_patients_from_whom_nothing_was_learnt_are_no_stage(tmp_path):
    go(tmp_path / "t", "a")
    go(tmp_path / "t", "b")  # of two steps, both of which are done
    assert [stage["data"]["training_patients"] for stage in go(tmp_path / "t", "c", steps=4)["earlier"]] == [["a"]]


def test_who_was_learnt_from_cannot_judge_later(tmp_path):
    go(tmp_path / "t", "ab")
    go(tmp_path / "t", "c", steps=3)
    with pytest.raises(TrainingError, match="Patient a: was learnt from in t and is now for validation"):
        go(tmp_path / "t", "c", valid="va", steps=4)


class Listed(Points):
    """Points that are said to be of the patients of a manifest: rows of `scan,split` and columns more, whose
    normal-dose scans hold their names."""

    def __init__(self, folder, *rows, header="pet,reference,split,id,patient"):
        lines = [header, *(f"{row.split(',')[0]}-low,{row}" for row in rows)]
        folder.mkdir(exist_ok=True)
        (folder / "manifest.csv").write_text("\n".join(lines))
        for row in rows:
            (folder / row.split(",")[0]).write_text(row.split(",")[0])
        self.found = collect(folder, lambda _, group: SimpleNamespace(id=group[0]["id"]), Run())

    def describe(self):
        return self.found.describe()


def go_with(folder, data, steps):
    train(Line(), data, settings(steps=steps), folder)
    return plan_of(folder)


def test_another_scan_of_who_was_learnt_from_cannot_judge(tmp_path):
    go_with(tmp_path / "t", Listed(tmp_path / "one", "A,train,a,P1", "V,validation,v,P2"), 2)
    later = Listed(tmp_path / "two", "B,train,b,P3", "D,validation,d,P1")
    with pytest.raises(TrainingError, match="Patient P1: was learnt from in t and is now for validation: row a then, "
                                            "row d now"):  # fmt: skip
        go_with(tmp_path / "t", later, 4)


def test_the_same_scan_elsewhere_and_under_another_id_cannot_judge(tmp_path):
    go_with(tmp_path / "t", Listed(tmp_path / "one", "A,train,a,", "V,validation,v,"), 2)
    with pytest.raises(TrainingError, match="Patient z: was learnt from in t"):
        go_with(tmp_path / "t", Listed(tmp_path / "two", "B,train,b,", "A,validation,z,"), 4)


@pytest.mark.parametrize("ids", [None, ("s1", "s1", "s2")])
def test_others_with_the_same_number_of_row_or_id_may_judge(tmp_path, ids):
    header = "pet,reference,split" + (",id" if ids else "")
    a, b, v = (f",{one}" for one in ids) if ids else ("", "", "")
    go_with(tmp_path / "t", Listed(tmp_path / "one", f"A,train{a}", header=header), 2)
    after = go_with(tmp_path / "t", Listed(tmp_path / "two", f"V,validation{b}", f"B,train{v}", header=header), 4)
    assert set(after["data"]["validation_patients"]) == set(after["earlier"][0]["data"]["training_patients"])


def test_a_plan_that_knows_ids_alone_goes_on_by_them(tmp_path):
    """As plans were before they said who the people are."""
    now = Listed(tmp_path / "one", "A,train,a,P1", "V,validation,v,P2")
    plan = go_with(tmp_path / "t", now, 2)
    assert [one["patient"] for one in plan["data"].pop("people")["training"]] == ["P1"]
    (tmp_path / "t" / "plan.json").write_text(json.dumps(plan))
    assert "earlier" not in go_with(tmp_path / "t", now, 2)
    (tmp_path / "t" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(TrainingError, match="Patient a: was learnt from in t"):
        go_with(tmp_path / "t", Listed(tmp_path / "two", "B,train,b,", "C,validation,a,"), 4)
    assert go_with(tmp_path / "t", now, 4)["earlier"][0]["data"] == plan["data"]


def test_who_the_people_are_stays_out_of_cards(tmp_path):
    data = Listed(tmp_path / "one", "A,train,a,Miller", "V,validation,v,Smith").describe()
    assert _without_names(data) == {"training_patients": 1, "validation_patients": 1, "skipped_rows": 0}
    assert str(tmp_path) not in json.dumps(data)


def test_the_origin_is_that_of_the_beginning(tmp_path):
    go(tmp_path / "first")
    origin = str(tmp_path / "first")
    with pytest.raises(TrainingError, match="was begun with the weights of no model, not of"):
        go(tmp_path / "first", steps=4, origin=origin)
    assert go(tmp_path / "second", origin=origin)["begun_from"] == "a training of line"
    assert go(tmp_path / "second", origin=origin, steps=3)["begun_from"] == "a training of line"
    shutil.rmtree(tmp_path / "first")
    assert go(tmp_path / "second", steps=4)["begun_from"] == "a training of line"


def begin_with(folder, origin, data, run=None):
    train(Line(), data, settings(), folder, run, origin=str(origin))
    return plan_of(folder)


def test_who_taught_the_weights_of_the_beginning_cannot_judge(tmp_path):
    go_with(tmp_path / "first", Listed(tmp_path / "one", "A,train,a,P1", "V,validation,v,P2"), 2)
    turned = Listed(tmp_path / "two", "V,train,v,P2", "A,validation,x,")
    with pytest.raises(TrainingError, match="Patient x: was learnt from in first and is now for validation: row a "
                                            "then, row x now"):  # fmt: skip
        begin_with(tmp_path / "second", tmp_path / "first", turned)
    assert not list((tmp_path / "second").glob("*.*")), "and nothing was begun"
    apart = Listed(tmp_path / "three", "B,train,b,P3", "V,validation,v,P2")
    assert begin_with(tmp_path / "second", tmp_path / "first", apart)["begun_from"] == "a training of line"


def test_who_taught_is_known_to_trainings_that_begin_with_one_another_and_go_on(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    go_with(first, Listed(tmp_path / "one", "A,train,a,P1", "V,validation,v,P2"), 2)
    begin_with(second, first, Listed(tmp_path / "two", "B,train,b,P3", "V,validation,v,P2"))
    with_a = Listed(tmp_path / "three", "C,train,c,P4", "D,validation,d,P1")
    shutil.rmtree(first)
    for again in (lambda: go_with(second, with_a, 4), lambda: begin_with(third, second, with_a)):
        with pytest.raises(TrainingError, match="Patient P1: was learnt from in second and is now for validation"):
            again()
    go_with(second, Listed(tmp_path / "four", "E,train,e,", "V,validation,v,P2"), 4)
    with pytest.raises(TrainingError, match="Patient P1: was learnt from in second"):
        go_with(second, with_a, 6)
    card = export(second, tmp_path / "models", "line", SAID).with_suffix(".json").read_text()
    assert "P1" in (second / "plan.json").read_text() and "P1" not in card and "P3" not in card


@pytest.mark.parametrize(("last", "told"), [("V,validation,v,P2", True), ("B,train,b,", False)])
def test_a_model_that_names_nobody_is_told_where_somebody_judges(tmp_path, last, told):
    go(tmp_path / "first")
    model, run = export(tmp_path / "first", tmp_path / "models", "line", SAID), Run()
    assert begin_with(tmp_path / "t", model, Listed(tmp_path / "one", "A,train,a,", last), run)["begun_from"] == "line"
    assert any("line is a model, and its card does not name the patients" in note for note in run.warnings) == told


def test_a_training_whose_plan_is_gone_goes_on_and_a_damaged_plan_is_named(tmp_path):
    go(tmp_path / "t")
    (tmp_path / "t" / "plan.json").unlink()
    assert "earlier" not in go(tmp_path / "t", steps=3)
    (tmp_path / "t" / "plan.json").write_text("{")
    with pytest.raises(TrainingError, match=r"plan\.json of t: cannot be read"):
        go(tmp_path / "t", steps=4)


def test_another_method_is_refused(tmp_path):
    class Curve(Line):
        method = "curve"

    go(tmp_path / "t")
    with pytest.raises(TrainingError, match="holds a training of line, not of curve"):
        train(Curve(), People("ab"), settings(), tmp_path / "t")


def test_what_was_measured_on_the_first_patients_stays_when_others_come(tmp_path):
    """CSRD measures sigma_data on validation patches, and so on what is there when the training begins."""
    first, more = write_dataset(tmp_path / "first", ("train", "validation")), tmp_path / "more"
    write_dataset(more, ("train", "train", "validation"), first=2)
    measured = []
    for data, steps in ((first, 1), ([first, more], 2)):
        task, chosen = CsrdTask(changes={"network": NETWORK}), settings(steps=steps, batch=1, patch=16)
        train(task, load_bank(data, task.derive, chosen, Run()), chosen, tmp_path / "t")
        measured.append(task.config["sigma_data"])
    assert measured[0] == measured[1] == plan_of(tmp_path / "t")["config"]["sigma_data"]
    alone = CsrdTask(changes={"network": NETWORK})
    alone.calibrate(load_bank([first, more], alone.derive, chosen, Run()).validation())
    assert alone.config["sigma_data"] != measured[0], "or this test would show nothing"


def test_steps_that_a_kill_took_away_are_in_the_log_once(tmp_path):
    folder, kept = tmp_path / "t", tmp_path / "kept"
    go(folder)
    kept.mkdir()
    for name in (STATE, FACTS):
        shutil.copy(folder / name, kept)
    go(folder, steps=4)
    for name in (STATE, FACTS):  # as if it had been killed after step 4 and before its checkpoint
        shutil.copy(kept / name, folder)
    go(folder, steps=5)
    assert steps_in(folder) == [1, 2, 3, 4, 5]
    for name in (STATE, FACTS):
        (folder / name).unlink()  # killed before the first checkpoint
    go(folder)
    assert steps_in(folder) == [1, 2]


def test_numbers_that_came_later_have_columns_of_their_own(tmp_path):
    """As where the first patients have no lesions."""
    log = Log(tmp_path, 0)
    log.write({"step": 1, "psnr": 30.5})
    log.write({"step": 2, "bias": -0.25, "psnr": 31.0})
    log.write({"step": 3, "psnr": 32.0})
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert rows == [{"step": "1", "psnr": "30.5", "bias": ""}, {"step": "2", "psnr": "31.0", "bias": "-0.25"},
                    {"step": "3", "psnr": "32.0", "bias": ""}]  # fmt: skip
    log.close()


def test_a_second_training_in_the_folder_is_refused_while_the_first_runs(tmp_path):
    go(tmp_path / "t")
    before = contents(tmp_path / "t")
    with alone_in(tmp_path / "t", "training"), pytest.raises(OutputError, match="another training is at work in it"):
        go(tmp_path / "t", steps=4)
    assert contents(tmp_path / "t") == before
    assert go(tmp_path / "t", steps=4)["settings"]["steps"] == 4


class Second:
    """A fabric as the second of several processes has it; `said` is what the first one says."""

    is_global_zero, global_rank, world_size = False, 1, 2

    def __init__(self, fabric, said):
        self.fabric, self.said = fabric, iter(said)

    def __getattr__(self, name):
        return getattr(self.fabric, name)

    def broadcast(self, value):
        return next(self.said)


class Counted(People):
    """No more batches than a test waits for."""

    def batch(self, step, rank):
        assert step < 20
        return super().batch(step, rank)


def test_other_devices_go_by_the_clock_of_the_first_and_leave_the_talking_to_it(tmp_path, monkeypatch):
    make, schedule, done, heard = loop._fabric, loop._schedule, [], []
    monkeypatch.setattr(loop, "_fabric", lambda *given: Second(make(*given), [None, None, 0.0, 0.5, 1.0]))
    monkeypatch.setattr(loop, "_schedule", lambda step, part, warmup: done.append(part) or schedule(step, part, warmup))
    train(Line(), Counted("ab"), settings(steps=None, minutes=1000), tmp_path / "t", Run(report=heard.append))
    assert sorted(set(done)) == [0.0, 0.5] and not heard and not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("said", [[], [None]])
def test_what_the_first_process_is_refused_all_are(tmp_path, monkeypatch, said):
    """The folder, or that its plan cannot be written."""
    make, refusal = loop._fabric, OutputError("Folder t", "is in use")
    monkeypatch.setattr(loop, "_fabric", lambda *given: Second(make(*given), [*said, refusal]))
    with pytest.raises(OutputError, match="is in use"):
        train(Line(), Counted("ab"), settings(), tmp_path / "t")


@pytest.mark.parametrize("where", ["alone_in", "explain"])
def test_whatever_the_first_process_stumbles_over_the_others_hear_of(tmp_path, monkeypatch, where):
    """Or they would wait for it for ever."""
    make, told = loop._fabric, []

    def stumbles(*_):
        raise RuntimeError("unforeseen")

    def first(*given):
        fabric = make(*given)
        monkeypatch.setattr(fabric, "broadcast", lambda value: told.append(value) or value)
        return fabric

    monkeypatch.setattr(loop, "_fabric", first)
    monkeypatch.setattr(loop, where, stumbles)
    with pytest.raises(RuntimeError, match="unforeseen"):
        train(Line(), People("ab"), settings(), tmp_path / "t")
    assert str(told[-1]) == "unforeseen"


def test_a_folder_in_use_is_told_before_patients_are_loaded(tmp_path, capsys):
    words = ["train", "unet-3d", "--data", str(tmp_path / "nowhere"), "--steps", "1", "--out", str(tmp_path / "t")]
    with alone_in(tmp_path / "t", "training"):
        assert main(words) and "another training is at work in it" in capsys.readouterr().err
    assert main(words) and "Manifest" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_numbers_of_a_batchs_items_wait_for_no_device(tmp_path):
    """A task deals by them what is decided on the host."""
    batch, fabric = {"x": torch.zeros(3, device="meta")}, SimpleNamespace(world_size=2, global_rank=1)
    assert loop._items(batch, 5, fabric).tolist() == [33, 34, 35]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say what a process has mapped")
def test_a_training_that_goes_on_does_not_hold_the_checkpoint_that_it_is_to_replace(tmp_path):
    """Windows replaces no file of which a part is mapped, and the optimizer's numbers came out of one that is."""
    go(tmp_path / "t")
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(network.parameters())
    load(tmp_path / "t", network, moving_average(network, 0.9), optimizer)
    assert optimizer.state_dict()["state"]
    assert STATE not in Path("/proc/self/maps").read_text()
