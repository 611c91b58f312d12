"""The report of any set of runs, and the command that writes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest

from chainrule.charts.chart import ConfusionMatrix, LineChart, ParallelCoordinates, chart_from_dict, chart_to_dict
from chainrule.cli import main
from chainrule.cli import report as report_command
from chainrule.core.errors import ConfigError
from chainrule.report import write_report
from chainrule.report.overview import build_overview, escape_markdown, format_markdown_table
from chainrule.report.run_charts import build_confusion_matrix
from chainrule.report.run_records import find_run_records


def test_a_report_on_a_sweep_has_all_its_sections(output_dir: Path) -> None:
    records = find_run_records([output_dir])
    report = build_overview(records, "Digits")
    assert report.title == "Digits"
    assert [section.title for section in report.sections] == [
        "Results",
        "What made the difference",
        "Learning curves",
        "Mistakes",
    ]
    kinds = {name: type(chart) for section in report.sections for name, chart in section.charts.items()}
    assert kinds["parallel"] is ParallelCoordinates
    assert kinds["best_so_far"] is LineChart
    assert len(report.runs) == 13
    winner = max(record.get_metric("val_accuracy") or 0 for record in records)
    assert f"validation accuracy (%) {100 * winner:.2f}; test accuracy" in report.sections[0].text


def test_every_chart_that_a_text_names_is_there_and_none_is_left_over(output_dir: Path) -> None:
    for section in build_overview(find_run_records([output_dir]), "All").sections:
        named = re.findall(r"\(chart:(\w+)\)", section.text)
        assert len(named) == len(set(named))
        assert set(named) == set(section.charts) or (not named and section.title == "Results")


def test_the_confusion_matrix_has_examples_of_its_cells(output_dir: Path) -> None:
    report = build_overview(find_run_records([output_dir]), "All")
    chart = next(section.charts["confusion"] for section in report.sections if "confusion" in section.charts)
    assert isinstance(chart, ConfusionMatrix)
    filled = {f"{i},{j}" for i, row in enumerate(chart.counts) for j, count in enumerate(row) if count}
    assert set(chart.examples) == filled
    assert chart_from_dict(chart_to_dict(chart)) == chart


def test_one_run_makes_a_report_too(output_dir: Path) -> None:
    report = build_overview(find_run_records([output_dir / "alone"]), "One")
    assert [section.title for section in report.sections] == ["Results", "Learning curves", "Mistakes"]


def test_a_run_without_model_data_and_results_makes_a_report_too(output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "alone", tmp_path / "alone")
    (tmp_path / "alone" / "model.safetensors").unlink()
    matrix = build_overview(find_run_records([tmp_path]), "One").sections[-1].charts["confusion"]
    assert isinstance(matrix, ConfusionMatrix)
    assert matrix.examples == {}
    for name in ("metrics.json", "history.jsonl", "config.json"):
        (tmp_path / "alone" / name).unlink()
    (section,) = build_overview(find_run_records([tmp_path]), "One").sections
    assert section.title == "Results"


@pytest.mark.parametrize(
    "change",
    [
        {"confusion_matrix": [1, 2]},
        {"confusion_matrix": [[1, -2], [3, 4]]},
        {"confusion_matrix": [[10**30]]},
        {"per_class": None},
        {"val_accuracy": 10**400},
        {"val_accuracy": "high", "test_accuracy": None},
    ],
)
def test_damaged_results_make_a_report_too(change: dict, output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "small", tmp_path / "small")
    file = next((tmp_path / "small").glob("0005_*")) / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    report = build_overview(find_run_records([tmp_path]), "Damaged")
    assert len(report.runs) == 12
    assert build_overview(find_run_records([file.parent]), "Damaged").runs


@pytest.mark.parametrize("counts", [[1, 2], [[1, -2], [3, 4]], [[10**30]], [[True]], [[1, 2]], [], "none"])
def test_invalid_counts_are_not_drawn(counts: object, output_dir: Path) -> None:
    (record,) = find_run_records([output_dir / "alone"])
    assert build_confusion_matrix(record) is not None
    assert build_confusion_matrix(replace(record, metrics={**record.metrics, "confusion_matrix": counts})) is None


def test_one_damaged_configuration_costs_only_itself(output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "small", tmp_path / "small")
    (next((tmp_path / "small").glob("0005_*")) / "config.json").write_text("{")
    report = build_overview(find_run_records([tmp_path]), "Damaged")
    assert report.sections[1].title == "What made the difference"
    assert sum(row["optimizer"] is None for row in report.runs) == 1


def test_a_damaged_storage_costs_nothing_that_the_runs_know(output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "small", tmp_path / "small")
    (tmp_path / "small" / "trials.db").write_bytes(b"nonsense")
    assert len(build_overview(find_run_records([tmp_path]), "Damaged").runs) == 12


def test_runs_of_a_plugin_are_reported_without_it(tmp_path: Path) -> None:
    plugin = Path(__file__).parents[2] / "examples" / "my_optimizer.py"
    words = ["-d", "digits", "-e", "1", "--quiet", "--figures", "False", "--wandb_mode", "disabled"]
    command = [sys.executable, "-m", "chainrule", "train", *words, "--plugin", str(plugin), "-o", "my_lion"]
    subprocess.run([*command, "--output_dir", str(tmp_path)], check=True)
    report = build_overview(find_run_records([tmp_path]), "Plugin")
    assert [section.title for section in report.sections] == ["Results", "Learning curves", "Mistakes"]


def test_runs_without_validation_have_no_best_one(tmp_path: Path) -> None:
    words = [
        "-d",
        "digits",
        "-e",
        "1",
        "--quiet",
        "--figures",
        "False",
        "--wandb_mode",
        "disabled",
        "--val_fraction",
        "0",
    ]
    for name in ("one", "two"):
        assert main(["train", *words, "--run_name", name, "--output_dir", str(tmp_path)]) == 0
    (results,) = build_overview(find_run_records([tmp_path]), "None").sections
    assert results.text == "No completed run has a validation accuracy (%)."
    by_test = build_overview(find_run_records([tmp_path]), "Test", "test_accuracy")
    assert "The best run by test accuracy" in by_test.sections[0].text


def test_losses_are_minimized(output_dir: Path) -> None:
    records = find_run_records([output_dir / "small"])
    least = min(records, key=lambda record: record.get_metric("val_loss") or 0)
    text = build_overview(records, "Loss", "val_loss").sections[0].text
    assert f"The best run by validation loss is {escape_markdown(least.name)}:" in text


def test_names_are_text_and_not_markdown(output_dir: Path, tmp_path: Path) -> None:
    from markdown_it import MarkdownIt

    name = "a`b *c* _d_ [e](f) ![g](chart:h) <i> | $x$"
    shutil.copytree(output_dir / "alone", tmp_path / name)
    shutil.copytree(output_dir / "alone", tmp_path / "plain")
    text = build_overview(find_run_records([tmp_path]), "Names").sections[0].text.splitlines()[0]
    page = MarkdownIt("commonmark").render(text)
    assert "a`b *c* _d_ [e](f) ![g](chart:h) &lt;i&gt; | $x$" in page
    assert not {"<em>", "<a ", "<img", "<code>"} & set(re.findall(r"<\w+ ?>?", page))


def test_a_table_is_markdown_and_keeps_what_it_is_given() -> None:
    assert format_markdown_table([["a|b", 1.5], ["c", -2]], ["name", "x"]).splitlines() == [
        "| name | x |",
        "| --- | ---: |",
        "| a\\|b | 1.5 |",
        "| c | -2 |",
    ]


def test_the_command_writes_a_page_and_prints_its_path(output_dir: Path, tmp_path: Path, capsys) -> None:
    assert (
        main(["report", "small", "--output_dir", str(output_dir), "--to", str(tmp_path / "r"), "--title", "T<1>"]) == 0
    )
    page = tmp_path / "r" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text()
    assert "T&lt;1&gt;" in text
    assert "0003_hl_1" in text
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no run, sweep or folder 'nothing'"),
        (["--tittle", "x"], "Did you mean '--title'"),
        (["--to"], "expected one argument"),
        (["--metric", "accuracy"], "metric must be one of val_accuracy"),
    ],
)
def test_wrong_arguments_are_reported(words: list[str], message: str, output_dir: Path, capsys) -> None:
    assert main(["report", *words, "--output_dir", str(output_dir)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(output_dir: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["report", "alone", "--output_dir", str(output_dir), "--to", str(tmp_path / "file" / "r")]) == 1
    assert "Cannot write the report to" in capsys.readouterr().err


def test_write_report_takes_folders_and_returns_the_page(output_dir: Path, tmp_path: Path) -> None:
    page = write_report([output_dir / "small", str(output_dir / "alone")], tmp_path / "new" / "r", metric="val_loss")
    assert page == tmp_path / "new" / "r" / "report.html"
    text = page.read_text()
    assert "<title>Report</title>" in text
    assert "13 runs" in text
    assert "best run by validation loss" in text
    with pytest.raises(ConfigError, match=r"metric.*val_accuracy.*'speed'"):
        write_report([output_dir], tmp_path, metric="speed")
    with pytest.raises(ConfigError, match="nowhere"):
        write_report([tmp_path / "nowhere"], tmp_path)
    # A single source needs no list.
    for source in (output_dir / "alone", str(output_dir / "alone")):
        assert write_report(source, tmp_path / "one").exists()


def test_the_command_writes_a_pdf(output_dir: Path, tmp_path: Path, capsys) -> None:
    words = ["small", "--pdf", "--title", "Small #runs", "--output_dir", str(output_dir), "--to", str(tmp_path)]
    assert main(["report", *words]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "report.html"), str(tmp_path / "Report.pdf")]
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "Report.pdf"}
    pdf = pypdfium2.PdfDocument((tmp_path / "Report.pdf").read_bytes())
    text = " ".join(page.get_textpage().get_text_range() for page in pdf)
    assert all(word in text for word in ("Small #runs", "Learning curves", "Figure 1", "All 12 runs", "hidden_size"))


def test_a_pdf_flag_may_precede_names(output_dir: Path, tmp_path: Path, monkeypatch) -> None:
    calls = []

    def record(sources: list[Path], to: str, **given: object) -> Path:
        calls.append((sources, given["pdf"]))
        return Path(to) / "report.html"

    monkeypatch.setattr(report_command, "write_report", record)
    assert main(["report", "--pdf", "alone", "--output_dir", str(output_dir), "--to", str(tmp_path)]) == 0
    assert calls == [([output_dir / "alone"], True)]
