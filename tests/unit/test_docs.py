"""The documentation covers every key, metric, exit code and command, and the commands that it shows run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from anomaly_daemon import cli
from anomaly_daemon.checkpoint.evidence import encode_evidence
from anomaly_daemon.checkpoint.models import read_model
from anomaly_daemon.checkpoint.snapshot import Make
from anomaly_daemon.configuration.keys import all_keys
from anomaly_daemon.daemon.metrics import METRICS, PREFIX
from anomaly_daemon.detection.detector import STATE_VERSION, Detector
from anomaly_daemon.detection.evidence import Evidence
from anomaly_daemon.detection.observation import Numeric, Schema
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import PRETRAINED

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")])
GENERATED = [page for page in (ROOT / "docs").glob("*.md") if "<!-- generated:" in page.read_text(encoding="utf-8")]


def text(*names: str) -> str:
    return "".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_generated_parts_are_current(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    assert generator().current(written) == written, "run `make docs`"


def test_every_key_of_the_configuration_is_explained() -> None:
    page = text("docs/configuration.md")
    for path, _ in all_keys():
        row = re.search(rf"^\| `{re.escape('.'.join(map(str, path)))}` \|.*\| (.*) \|$", page, re.MULTILINE)
        assert row, path
        assert row[1].strip(), f"{path} has no docstring in settings/"


def test_every_metric_exit_code_and_command_is_explained() -> None:
    page = text("docs/operations.md")
    assert [metric.name for metric in METRICS if f"| `{PREFIX}{metric.name}` |" not in page] == []
    assert [code for code in ExitCode if f"| {code} | {code.name} |" not in page] == []
    assert [name for name in cli.COMMANDS if f"\n### {name}\n" not in page] == []


def failures() -> list[list[str]]:
    table = text("docs/operations.md").split("<!-- failures -->")[1].split("<!-- end of failures -->")[0]
    rows = [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_failure_has_its_exit_code_and_what_to_do() -> None:
    codes = {str(int(code)) for code in ExitCode} | {"–"}
    for what, code, said, remedy in failures():
        assert set(code.split(", ")) <= codes, what
        assert said.startswith("`"), what
        assert remedy, what
    told = {code for row in failures() for code in row[1].split(", ")}
    assert {"65", "69", "75", "77", "78"} <= told


def test_what_a_failure_is_said_to_say_is_what_the_program_says() -> None:
    """In the source, messages are split over lines and contain values."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "anomaly_daemon").rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", source)
    for row in failures():
        for said in re.findall(r"`([^`]+)`", row[2]):
            assert said in joined, said


def test_the_readme_speaks_of_every_command() -> None:
    assert [name for name in cli.COMMANDS if f"anomaly-daemon {name}" not in text("README.md") and name != "demo"] == []
    assert "make demo" in text("README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_is_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_is_one_the_program_understands(page: Path) -> None:
    shown = "".join(re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    for line in shown.replace("\\\n", " ").splitlines():
        for words in re.findall(r"(?:^|\| |&& |exec daemon )anomaly-daemon ([^|>#]*)", line):
            arguments = _words(words)
            assert callable(cli.parser(arguments).parse_args(arguments).run), line


def _words(line: str) -> list[str]:
    """Split the line as the shell would, without running anything."""
    cut = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
    return cut.stdout.splitlines()


def made(target: str, environment: Path) -> str:
    """Return the commands that make would run for this target."""
    return subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target, f"VENV={environment}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("target", ["venv", "demo", "test", "lint", "check", "format", "docs"])
def test_every_target_of_make_uses_the_environment_it_is_told(target: str, tmp_path: Path) -> None:
    printed = made(target, tmp_path / "there")
    assert f"-m venv {tmp_path / 'there'}\n" in printed
    assert ".venv" not in printed
    programs = [line.split()[0] for line in printed.splitlines() if line.split()[0] not in ("python3", "rm", "touch")]
    assert all(program.startswith(str(tmp_path / "there")) for program in programs)


@pytest.mark.timeout(420)  # a minute on an idle machine
def test_the_readmes_tour_runs(tmp_path: Path) -> None:
    """Runs all its ```sh blocks in order, in one shell, as a newcomer would. ```console blocks only show output."""
    blocks = re.findall(r"```sh\n(.*?)```", text("README.md"), re.DOTALL)
    assert len(blocks) >= 4
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = "set -euo pipefail\n" + "\n".join(blocks)
    ended = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert "pump-2" in ended.stdout
    assert "<html" in (tmp_path / "pumps.html").read_text(encoding="utf-8").lower()


def test_an_environment_that_is_a_link_is_made_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    printed = made("venv", tmp_path / "link")
    assert f"-m venv {tmp_path.resolve() / 'there'}\n" in printed


def stream_of(fields: int) -> Detector:
    schema = Schema(tuple(Numeric(f"f{place}") for place in range(fields)), ())
    return Detector(read_model(PRETRAINED), schema, Rules(), "readings", 0, "digest", {})


def test_what_a_stream_is_said_to_take_is_what_its_row_takes() -> None:
    layouts = {fields: stream_of(fields).slab.layout for fields in (1, 4, 8, 38)}
    kilobytes = {
        fields: (layout.carried_blank.nbytes + layout.statistics_blank.nbytes) / 1000
        for fields, layout in layouts.items()
    }
    one, four, eight = (f"{kilobytes[fields]:.1f}" for fields in (1, 4, 8))
    said = re.sub(r"\s+", " ", text("README.md", "docs/operations.md", "docs/performance.md"))
    assert f"({one} for one field, {four} for" in said
    assert f"{one} KB a stream with one field, {four} with four" in said
    assert f"{one} KB with one field, {four} with four, {eight} with eight" in said
    assert f"with 38 fields {kilobytes[38]:.0f}," in said


def test_what_evidence_is_said_to_take_is_what_is_sent() -> None:
    sizes = []
    for fields in (1, 4, 40):
        made = stream_of(fields)
        evidence = Evidence("press-07", 0, 0, 0, None, made.slab.gather(made.slab.rows(["press-07"])))
        make = Make(made.scorer.digest, STATE_VERSION, {"schema": "0" * 64})
        sizes.append(f"{len(encode_evidence(make, evidence)) / 1000:.0f} KB")
    assert "about {} for one field, {} for four, {} for forty".format(*sizes) in text("docs/alerts.md")
