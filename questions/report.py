"""The report on all ten questions, from stored answers: page, PDF, and the charts of the README."""

import argparse
import json
import sys
from pathlib import Path

from sections import QUESTIONS, ROOT, build_section

from chainrule.charts.renderer import save_chart
from chainrule.report.html.page import write_page
from chainrule.report.pdf.document import write_pdf
from chainrule.report.section import Report

# Charts of the README, by question.
README_CHARTS = {"survey": "question6", "leaders": "question5", "confusion": "question7"}


def main() -> None:
    """Write the page, and the PDF."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="from the answers of the quick versions, into runs/quick")
    parser.add_argument("--output_dir", help="with --quick: the --output_dir of the scripts")
    parser.add_argument("--no_pdf", action="store_true", help="skip Report.pdf")
    given = parser.parse_args()
    folder = Path(given.output_dir or ROOT / "runs" / "quick") if given.quick else ROOT / "report"
    answers = folder / "results"
    names = ["summary", *(f"question{number}" for number in QUESTIONS)]
    missing = [file for name in names[1:] if not (file := answers / f"{name}.json").exists() and name != "question9"]
    if missing:
        sys.exit(f"{missing[0]} is missing. Run questions/{missing[0].stem}.py{' --quick' * given.quick} first.")
    sections = [build_section(name, answers, quick=given.quick) for name in names]
    runs = json.loads((answers / "question4.json").read_text(encoding="utf-8"))["runs"]
    about = (
        f"Feedforward networks on Fashion-MNIST and MNIST. Based on {len(runs)} trials and the runs of each question."
    )
    report = Report("What a small network learns, and what decides it", about, sections, runs)
    write_page(report, folder / "report.html")
    for chart, question in README_CHARTS.items():
        save_chart(sections[names.index(question)].charts[chart], folder / f"{chart}.svg")
    print(folder / "report.html")
    if not given.no_pdf:
        write_pdf(report, folder / "Report.pdf")
        print(folder / "Report.pdf")


if __name__ == "__main__":
    main()
