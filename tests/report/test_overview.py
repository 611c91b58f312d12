"""The report of any set of runs, and the command that writes it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.report.charts import Confusion, Lines, Parallel, from_dict, to_dict
from chainrule.report.overview import overview, table
from chainrule.report.records import find_records


def test_a_report_on_a_sweep_has_all_its_sections(output_dir: Path) -> None:
    records = find_records([], output_dir)
    report = overview(records, "Digits")
    assert report.title == "Digits"
    assert [section.title for section in report.sections] == [
        "Results",
        "What made the difference",
        "Learning curves",
        "Mistakes of the best run",
    ]
    kinds = {name: type(chart) for section in report.sections for name, chart in section.charts.items()}
    assert kinds["parallel"] is Parallel
    assert kinds["best_so_far"] is Lines
    assert len(report.runs) == 13
    winner = max(record.number("val_accuracy") or 0 for record in records)
    assert f"{100 * winner:.2f} % on the validation set" in report.sections[0].text


def test_every_chart_that_a_text_names_is_there_and_none_is_left_over(output_dir: Path) -> None:
    for section in overview(find_records([], output_dir), "All").sections:
        named = re.findall(r"\(chart:(\w+)\)", section.text)
        assert len(named) == len(set(named))
        assert set(named) == set(section.charts) or (not named and section.title == "Results")


def test_the_confusion_matrix_has_pictures_of_its_cells(output_dir: Path) -> None:
    report = overview(find_records([], output_dir), "All")
    chart = next(section.charts["confusion"] for section in report.sections if "confusion" in section.charts)
    assert isinstance(chart, Confusion)
    filled = {f"{i},{j}" for i, row in enumerate(chart.counts) for j, count in enumerate(row) if count}
    assert set(chart.examples) == filled
    assert from_dict(to_dict(chart)) == chart


def test_one_run_makes_a_report_too(output_dir: Path) -> None:
    report = overview(find_records(["alone"], output_dir), "One")
    assert [section.title for section in report.sections] == ["Results", "Learning curves", "Mistakes of the best run"]


def test_a_run_without_model_data_and_results_makes_a_report_too(output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "alone", tmp_path / "alone")
    (tmp_path / "alone" / "model.safetensors").unlink()
    matrix = overview(find_records([], tmp_path), "One").sections[-1].charts["confusion"]
    assert isinstance(matrix, Confusion)
    assert matrix.examples == {}
    for name in ("metrics.json", "history.jsonl", "config.json"):
        (tmp_path / "alone" / name).unlink()
    (section,) = overview(find_records([], tmp_path), "One").sections
    assert section.title == "Results"


def test_a_table_is_markdown_and_keeps_what_it_is_given() -> None:
    assert table([["a|b", 1.5], ["c", -2]], ["name", "x"]).splitlines() == [
        "| name | x |",
        "| --- | ---: |",
        "| a\\|b | 1.5 |",
        "| c | -2 |",
    ]


def test_the_command_writes_a_page_and_says_where(output_dir: Path, tmp_path: Path, capsys) -> None:
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
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str, output_dir: Path, capsys) -> None:
    assert main(["report", *words, "--output_dir", str(output_dir)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(output_dir: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["report", "alone", "--output_dir", str(output_dir), "--to", str(tmp_path / "file" / "r")]) == 1
    assert "Cannot write to" in capsys.readouterr().err
