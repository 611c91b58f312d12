"""What the documentation shows is true: its examples run, its files are the real ones, its links lead somewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gradcheck import numerical_gradient

from chainrule import ACTIVATIONS, ENGINES, LOSSES, OPTIMIZERS, SCHEDULES, Eve, NeuralNetwork, load_dataset
from chainrule.nn.losses import Loss

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUNNABLE = [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]

# The page that shows each plugin, the flags that use it, and the key and value that its run records.
PLUGINS = {
    "my_optimizer": ("adding-an-optimizer", ("-d", "digits", "-o", "my_lion"), ("mean_decay", 0.99)),
    "my_schedule": (
        "adding-a-schedule",
        ("-d", "digits", "--schedule", "warmup_cosine"),
        ("schedule", "warmup_cosine"),
    ),
    "my_activation": ("adding-an-activation", ("-d", "digits", "-a", "softsign"), ("activation", "softsign")),
    "my_loss": ("adding-a-loss", ("-d", "digits", "-l", "focal"), ("loss", "focal")),
    "my_initializer": ("adding-an-initializer", ("-d", "digits", "-w_i", "LeCun"), ("weight_init", "LeCun")),
    "my_dataset": ("adding-a-dataset", ("-d", "two_moons"), ("dataset", "two_moons")),
}


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python from the repository root; in a process of its own, because plugins register themselves for good."""
    command = [sys.executable, *map(str, words)]
    wide = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, timeout=240, check=False)


def page_text(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def lines_of(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path) -> None:
    result = python("-W", "error", "-m", "doctest", page)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_example_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "wrong.md"
    page.write_text("```python\n>>> 1 + 1\n3\n\n```\n", encoding="utf-8")
    assert python("-m", "doctest", page).returncode != 0


def test_the_example_of_the_readme_prints_what_it_shows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", text, flags=re.DOTALL)
    assert found, "README.md shows no example with its output"
    result = python("-W", "error", "-c", found[1])
    assert result.returncode == 0, result.stderr
    # Other processors round differently, which later epochs show in their last digits.
    number = re.compile(r"\d+\.\d+")
    assert number.sub("#", result.stdout) == number.sub("#", found[2])
    printed, shown = (list(map(float, number.findall(text))) for text in (result.stdout, found[2]))
    assert printed == pytest.approx(shown, rel=0.05, abs=0.05)


def test_the_terms_of_the_glossary_are_those_of_the_code() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/[!g]*.md"), ROOT / "pyproject.toml"]
    words = set(re.findall(r"\w+", " ".join(path.read_text(encoding="utf-8") for path in files)))
    for identifier in re.findall(r"`([\w.]+)`", page_text("glossary")):
        assert set(identifier.split(".")) <= words, identifier


def test_every_plugin_has_a_page() -> None:
    assert sorted(PLUGINS) == sorted(path.stem for path in (ROOT / "examples").glob("my_*.py"))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_page_shows_its_plugin_verbatim(plugin: str) -> None:
    source = (ROOT / "examples" / f"{plugin}.py").read_text(encoding="utf-8")
    assert f"```python\n{source}```\n" in page_text(PLUGINS[plugin][0])


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_trains_from_the_command_line(plugin: str, tmp_path: Path) -> None:
    _, flags, (key, value) = PLUGINS[plugin]
    words = ("--plugin", f"examples/{plugin}.py", *flags, "-e", "1", "-nhl", "2", "--wandb_mode", "disabled")
    result = python("-W", "error", "-m", "chainrule", "train", *words, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    (config,) = tmp_path.glob("*/config.json")
    assert json.loads(config.read_text(encoding="utf-8"))[key] == value


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_command_of_a_page_is_valid(plugin: str) -> None:
    ((program, flags),) = re.findall(r"^(python train\.py|chainrule train) (.*)$", page_text(PLUGINS[plugin][0]), re.M)
    assert f"--plugin examples/{plugin}.py" in flags
    words = ("train.py",) if program.startswith("python") else ("-m", "chainrule", "train")
    result = python(*words, *flags.split(), "--print_config")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("script", ["quickstart", "first_network_by_hand"])
def test_a_script_runs(script: str) -> None:
    result = python("-W", "error", f"examples/{script}.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_the_help_of_a_plugin_is_as_shown() -> None:
    shown = re.findall(r"^  -[\w-].*$", page_text("adding-an-optimizer"), flags=re.MULTILINE)
    printed = lines_of(python("-m", "chainrule", "train", "--plugin", "examples/my_optimizer.py", "--help").stdout)
    assert len(shown) == 3
    assert {line.strip() for line in shown} <= printed


def test_the_errors_of_plugins_are_as_shown(tmp_path: Path) -> None:
    shown = lines_of(page_text("adding-an-optimizer"))
    source = (ROOT / "examples" / "my_optimizer.py").read_text(encoding="utf-8")
    plugin = tmp_path / "my_optimizer.py"

    def message(text: str, *words: str) -> str:
        plugin.write_text(text, encoding="utf-8")
        result = python("-m", "chainrule", "train", "--plugin", plugin, *words)
        assert result.returncode == 2, result.stderr
        return result.stderr.strip().replace(str(tmp_path), "").replace("/my_optimizer.py", "my_optimizer.py")

    assert message(source.replace("gradient: Array, mean", "gradiant: Array, mean")) in shown
    boost = 'boost = Float(1.0, "...", flag="-b")\n    slots ='
    boosted = source.replace('"my_lion"', '"mine"').replace("slots =", boost)
    assert message(boosted) in shown
    missing = python("-m", "chainrule", "train", "--plugin", "examples/missing.py")
    assert missing.returncode == 2
    assert missing.stderr.strip() in shown


@pytest.fixture
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    for registry in (ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES):
        for attribute in ("_parts", "_aliases"):
            monkeypatch.setattr(registry, attribute, dict(getattr(registry, attribute)))


@pytest.mark.usefixtures("_own_registries")
@pytest.mark.parametrize(
    ("plugin", "activation", "loss"),
    [("my_activation", "softsign", "cross_entropy"), ("my_loss", "tanh", "focal")],
)
def test_the_derivative_of_a_plugin_is_right(
    plugin: str, activation: str, loss: str, random: np.random.Generator
) -> None:
    runpy.run_path(str(ROOT / "examples" / f"{plugin}.py"))
    network = NeuralNetwork([4, 5, 3, 3], activation, loss=loss, dtype="float64")
    network.parameters.flat[...] = random.normal(size=network.parameters.flat.size)
    x, y = random.normal(size=(7, 4)), random.integers(0, 3, 7)
    _, gradients = network.loss_and_gradients(x, y)
    for name, parameter in network.parameters.items():
        measured = numerical_gradient(lambda: network.loss_and_gradients(x, y)[0], parameter)
        np.testing.assert_allclose(gradients[name], measured, rtol=1e-6, atol=1e-9)


def train_on_digits(
    engine: str, optimizer: str, loss: str | Loss = "cross_entropy", schedule: str = "constant"
) -> np.ndarray:
    """Return the parameters after 60 steps in float64."""
    data = load_dataset("digits", dtype="float64")
    network, made = NeuralNetwork([64, 9, 10], loss=loss, dtype="float64"), OPTIMIZERS[optimizer](schedule=schedule)
    made.schedule_span = (0, 60)
    ENGINES[engine](network, made, 16, 1).train(data.x_train, data.y_train, np.arange(16 * 60))
    return network.parameters.flat


@pytest.mark.usefixtures("_own_registries")
def test_both_engines_run_the_plugins() -> None:
    plugins = [runpy.run_path(str(path)) for path in sorted((ROOT / "examples").glob("my_[los]*.py"))]
    (focal,) = (found["Focal"] for found in plugins if "Focal" in found)
    losses = [focal(gamma=gamma) for gamma in (1.0, 2.0, 3.5)]
    ends = []
    for loss in losses:
        compiled, reference = (
            train_on_digits(engine, "my_lion", loss, "warmup_cosine") for engine in ("compiled", "numpy")
        )
        np.testing.assert_allclose(compiled, reference, rtol=0, atol=1e-10)
        ends.append(reference)
    assert np.abs(ends[0] - ends[1]).max() > 1e-6
    assert np.abs(ends[1] - ends[2]).max() > 1e-6


@pytest.mark.usefixtures("_own_registries")
def test_eve_as_a_plugin_is_one_class(tmp_path: Path) -> None:
    """The most demanding optimizer needs nothing but its class: its source, in a file of its own, is the same Eve."""
    source = inspect.getsource(Eve).replace('"eve"', '"my_eve"')
    assert source.count("\nclass ") == 1
    assert "\ndef " not in source
    header = (
        "import numpy as np\n"
        "from chainrule.core.fields import Float\n"
        "from chainrule.optim.optimizer import OPTIMIZERS, Optimizer\n"
        "from chainrule.optim.optimizers import BETA1, BETA2, EPSILON\n"
        "Array = np.ndarray\n"
    )
    (tmp_path / "my_eve.py").write_text(f"{header}\n{source}", encoding="utf-8")
    plugin = runpy.run_path(str(tmp_path / "my_eve.py"))
    assert OPTIMIZERS["my_eve"] is plugin["Eve"] is not Eve
    for engine in ("compiled", "numpy"):
        np.testing.assert_array_equal(train_on_digits(engine, "my_eve"), train_on_digits(engine, "eve"))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}, but {file.name} has no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
