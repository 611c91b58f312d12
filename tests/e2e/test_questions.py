"""The scripts of the ten questions, the report and the notebook, in their quick versions, as a person runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pypdfium2
import pytest

ROOT = Path(__file__).resolve().parents[2]
WITH_SCRIPT = (1, 2, 3, 4, 5, 6, 7, 8, 10)

pytestmark = pytest.mark.real_data


def script(name: str, *words: str, **environment: str) -> str:
    command = [sys.executable, str(ROOT / "questions" / name), *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick answers to all questions."""
    folder = tmp_path_factory.mktemp("questions")
    for number in WITH_SCRIPT:
        mode = "offline" if number == 1 else "disabled"
        script(f"question{number}.py", "--quick", "--output_dir", str(folder), "--wandb_mode", mode)
    return folder


def test_each_script_stores_its_answer_and_its_charts(folder: Path) -> None:
    for number in WITH_SCRIPT:
        answer = json.loads((folder / "results" / f"question{number}.json").read_text())
        for name in answer["charts"]:
            assert (folder / "images" / f"question{number}_{name}.png").stat().st_size > 2000


def test_the_charts_are_logged_to_wandb(folder: Path) -> None:
    (sent,) = (folder / "wandb" / "question1" / "wandb").glob("offline-run-*/files/media/images/figures/samples_*.png")
    assert sent.read_bytes() == (folder / "images" / "question1_samples.png").read_bytes()


def test_finished_runs_are_not_trained_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.glob("optimizers/*/model.safetensors")}
    script("question3.py", "--quick", "--output_dir", str(folder), "--wandb_mode", "disabled")
    assert len(before) == 7
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("optimizers/*/model.safetensors")}


def test_the_report_of_the_quick_answers(folder: Path) -> None:
    script("report.py", "--quick", "--output_dir", str(folder))
    page = (folder / "report.html").read_text()
    assert len(pypdfium2.PdfDocument(folder / "Report.pdf")) > 5
    for number in range(1, 11):
        assert f"Question {number}:" in page


def test_a_question_that_needs_another_says_so(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "questions" / "question7.py"), "--quick", "--output_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Run questions/question4.py --quick first." in done.stderr


def test_an_estimate_by_students_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from estimate import estimate_mean

    found = estimate_mean([1.0, 2.0, 3.0])
    # t for two degrees of freedom and 97.5 % is 4.3027 in every table.
    assert found.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)
    assert found.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert (found.mean, found.std) == (2.0, 1.0)
    alone = estimate_mean([0.5])
    assert (alone.mean, alone.std, alone.low, alone.high) == (0.5, 0.0, 0.5, 0.5)


def test_an_interval_covers_the_test_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from estimate import estimate_accuracy, estimate_mean

    values = [0.88, 0.885, 0.89]
    seeds, both = estimate_mean(values), estimate_accuracy(values, 10_000)
    images = 1.96 * (0.885 * 0.115 / 10_000) ** 0.5
    assert both.mean == seeds.mean
    assert both.high - both.mean == pytest.approx(((seeds.high - seeds.mean) ** 2 + images**2) ** 0.5, rel=1e-3)
    assert estimate_accuracy([0.885], 10_000).low == pytest.approx(0.885 - images, rel=1e-4)


def test_an_experiment_is_described_by_all_its_hyperparameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from study import describe_experiment

    sgd = {"optimizer": "sgd", "weight_decay": 0.0005, "epochs": 10, "output_dir": "a"}
    configs = [
        sgd | {"seed": 10},
        sgd | {"seed": 9, "output_dir": "b"},
        sgd | {"optimizer": "nag", "momentum": 0.9, "seed": 9},
    ]
    found = describe_experiment(configs)
    assert found["runs"] == 3
    assert found["fixed"] == {"weight_decay": 0.0005, "epochs": 10, "momentum": 0.9}
    assert found["varied"] == {"optimizer": ["nag", "sgd"], "seed": [9, 10]}


def test_every_committed_experiment_prints_its_fixed_hyperparameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from sections import build_section

    pdf = pypdfium2.PdfDocument(ROOT / "report" / "Report.pdf")
    printed = "".join("".join(page.get_textpage().get_text_range() for page in pdf).split())
    page, notebook = ((ROOT / file).read_text() for file in ("report/report.html", "notebooks/assignment.ipynb"))
    for number in (3, 4, 6, 7, 8, 10):
        answer = json.loads((ROOT / "report" / "results" / f"question{number}.json").read_text())
        text = build_section(f"question{number}", ROOT / "report" / "results").text
        assert answer["experiments"]
        for experiment in answer["experiments"].values():
            assert {"weight_decay", "batch_size", "weight_init"} <= {*experiment["fixed"], *experiment["varied"]}
            assert "val_fraction" in experiment["fixed"]
            for key, value in experiment["fixed"].items():
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                assert f"`{key}`: {shown}" in text
                assert f"`{key}`: {shown}" in notebook
                assert f"<code>{key}</code>: {shown}" in page
                assert f"{key}:{shown}" in printed.replace("\u00ad", "")


def test_the_survey_is_read_from_the_answer_to_question_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from survey import read_trials

    results = ROOT / "report" / "results"
    trials = read_trials(json.loads((results / "question4.json").read_text()), "survey")
    assert len(trials) == 300
    charted = json.loads((results / "question6.json").read_text())["charts"]["survey"]["axes"][-1]
    assert [100 * (trial.get_metric("val_accuracy") or 0) for trial in trials] == charted["values"]
    assert {trial.config["weight_decay"] for trial in trials} == {0, 0.0005, 0.5}
    assert trials[0].config["loss"] == "cross_entropy"


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jupytext
    from nbclient import NotebookClient

    monkeypatch.setenv("CHAINRULE_QUICK_ANSWERS", str(folder / "results"))
    notebook = jupytext.read(ROOT / "notebooks" / "assignment.py")
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) > 15


def test_the_committed_notebook_is_that_of_its_source() -> None:
    import jupytext

    kept = json.loads((ROOT / "notebooks" / "assignment.ipynb").read_text())
    source = jupytext.read(ROOT / "notebooks" / "assignment.py")
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in kept["cells"]] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
    code = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)


def test_the_committed_report_says_what_the_committed_answers_say(tmp_path: Path) -> None:
    """Every claim of the texts is checked while they are filled in."""
    shutil.copytree(ROOT / "report" / "results", tmp_path / "results")
    code = (
        "import sys; from pathlib import Path; from sections import *\n"
        "for name in ('summary', *(f'question{n}' for n in QUESTIONS)):\n"
        "    print(build_section(name, Path(sys.argv[1])).text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "results")],
        capture_output=True,
        text=True,
        cwd=ROOT / "questions",
    )
    assert done.returncode == 0, done.stderr
    pdf = pypdfium2.PdfDocument(ROOT / "report" / "Report.pdf")
    committed = " ".join(page.get_textpage().get_text_range() for page in pdf)
    answer = json.loads((tmp_path / "results" / "question7.json").read_text())
    assert f"{100 * answer['test_accuracy']['mean']:.2f}" in committed
    assert f"{100 * answer['test_accuracy']['mean']:.2f}" in done.stdout


def test_a_claim_that_the_answers_do_not_support_stops_the_report(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "report" / "results", tmp_path / "results")
    file = tmp_path / "results" / "question7.json"
    answer = json.loads(file.read_text())
    answer["test_accuracy"]["mean"] = 0.87
    file.write_text(json.dumps(answer))
    code = "import sys; from pathlib import Path; from sections import *; build_section('question7', Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "questions")
    assert done.returncode == 1
    assert "the model beats 88 %" in done.stderr
