"""The import rules: which room may import which (docs/architecture.md), read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "anomaly_daemon"
MODULES = sorted(PACKAGE.rglob("*.py"))

PURE = {
    "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "datetime", "enum", "fnmatch", "functools",
    "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "struct", "types",
    "typing", "zlib", "zoneinfo", "numpy", "torch", "safetensors",
}  # fmt: skip
"""What detection may import besides itself. These take values and return values: no clock, files, randomness, logging
or environment."""

BESIDE = ("anomaly_daemon.detection", "anomaly_daemon.errors", "anomaly_daemon.compiled")
"""`compiled` keeps machine code in a folder, as Python does. This affects how code is loaded, and not what it does."""

CLOCKS = {"now", "utcnow", "today"}
"""Methods of datetime that ask the machine for the current time."""


@cache
def nodes(module: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))


def imports(module: Path) -> Iterator[str]:
    """Yield the full names of what a module imports at run time: `a.b` for `import a.b`, `a.b.c` for `from a.b import
    c`."""
    for_types = {child for node in nodes(module) if _is_type_checking(node) for child in ast.walk(node)}
    for node in nodes(module):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room(module: Path) -> str:
    """Return the room of a module: `detection`, `daemon`, ... A module at the top is its own room."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_seen_by(module: Path) -> set[str]:
    ours = (name.split(".") for name in imports(module) if name.startswith("anomaly_daemon."))
    return {parts[1] for parts in ours if len(parts) > 1}


def of(*rooms: str) -> list[Path]:
    return [module for module in MODULES if room(module) in rooms]


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", of("detection"), ids=name_of)
def test_detection_imports_only_pure_things_and_itself(module: Path) -> None:
    for name in imports(module):
        assert name.split(".")[0] in PURE or name.startswith(BESIDE), name


@pytest.mark.parametrize("module", of("detection"), ids=name_of)
def test_detection_asks_for_no_time_and_no_randomness_of_the_machine(module: Path) -> None:
    for node in nodes(module):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id in ("datetime", "date") and node.attr in CLOCKS), node.lineno
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            assert not (node.value.attr == "random" and node.attr != "Generator"), node.lineno
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in ("manual_seed", "rand", "randn", "randint", "randperm", "seed"), node.lineno


FORBIDDEN = {
    "transport": {"registry", "training", "daemon", "demo", "report", "commands", "cli", "bootstrap", "checkpoint"},
    "checkpoint": {"registry", "training", "daemon", "demo", "report", "commands", "cli", "bootstrap"},
    "registry": {"transport", "daemon", "training", "demo", "report", "commands", "cli", "bootstrap"},
    "daemon": {"registry", "training", "demo", "report", "commands", "cli", "bootstrap"},
    "training": {"daemon", "demo", "report", "commands", "cli"},
    "supervision": {
        "registry", "training", "transport", "checkpoint", "detection", "demo", "report", "commands", "cli", "bootstrap",
    },
    "forwarding": {"registry", "training", "daemon", "checkpoint", "demo", "report", "commands", "cli", "bootstrap"},
    "planning": {"training", "demo", "report", "commands", "cli"},
    "settings": {"transport", "daemon", "training", "commands", "cli", "bootstrap", "configuration"},
    "bootstrap": {"training", "demo", "commands", "cli"},
    "regime": {"daemon", "registry", "training", "demo", "report", "commands", "cli", "bootstrap"},
    "errors": {"settings", "detection", "transport", "daemon", "training", "commands", "cli", "bootstrap"},
}  # fmt: skip
"""The rooms that each room may not import."""


@pytest.mark.parametrize("module", of(*FORBIDDEN), ids=name_of)
def test_no_room_looks_into_one_above_it(module: Path) -> None:
    assert not rooms_seen_by(module) & FORBIDDEN[room(module)]


def test_only_the_kafka_room_imports_kafka() -> None:
    users = {module.parent for module in MODULES if any(name.split(".")[0] == "kafka" for name in imports(module))}
    assert users <= {PACKAGE / "transport" / "kafka"}


ENVIRONMENT_READERS = {"configuration/__init__.py", "supervision/systemd.py"}
"""Modules that may read the environment. systemd passes the address of its socket only there."""


CLIENTS = {"KafkaConsumer", "KafkaProducer", "KafkaAdminClient"}


def test_every_kafka_client_of_tests_and_benchmarks_closes_its_sockets() -> None:
    """When kafka-python gives up an attempt to connect, it leaves the socket to the garbage collector, which may run
    during a later test and fail that one. `PROXY_URL` selects this project's own sockets, which are closed."""
    root = PACKAGE.parent
    files = [*(root / "tests").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]
    made = [
        (file, node) for file in files for node in nodes(file) if isinstance(node, ast.Call) and _name(node) in CLIENTS
    ]
    assert len(made) > 40
    assert not [
        f"{file.relative_to(root)}:{node.lineno}"
        for file, node in made
        if "proxy_url" not in {keyword.arg for keyword in node.keywords}
    ]


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", None) or getattr(call.func, "attr", "")


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {
        name_of(module)
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb")
    }
    assert readers <= ENVIRONMENT_READERS


def test_only_the_registry_imports_fsspec() -> None:
    users = {module.parent for module in MODULES if any(name.split(".")[0] == "fsspec" for name in imports(module))}
    assert users <= {PACKAGE / "registry"}


def test_nothing_pickles() -> None:
    refused = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for module in MODULES:
        assert not refused & {name.split(".")[0] for name in imports(module)}, name_of(module)


@pytest.mark.parametrize("call", ["torch.load", "torch.save", "numpy.load with allow_pickle"])
def test_nothing_pickles_by_another_name(call: str) -> None:
    users = [f"{name_of(module)}:{node.lineno}" for module in MODULES for node in calls(module) if called(node) == call]
    assert not users


def calls(module: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(module) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    name = ast.unparse(call.func).replace("np.", "numpy.")
    pickled = any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in call.keywords)
    return f"{name} with allow_pickle" if pickled else name


def test_only_the_commands_print() -> None:
    printing = {module for module in MODULES for node in calls(module) if called(node) == "print"}
    maker_of_the_shipped_network = PACKAGE / "training" / "pretrain.py"
    assert printing <= {*of("commands", "cli"), maker_of_the_shipped_network}


def test_the_commands_wire_nothing_themselves() -> None:
    """Detection is built by `bootstrap` alone, so that backtest and demo run what production runs."""
    for module in of("commands"):
        names = set(imports(module))
        assert not {name for name in names if name.startswith("anomaly_daemon.detection.detector")}, name_of(module)
        assert not {name for name in names if name.startswith("anomaly_daemon.daemon.worker.Worker")}, name_of(module)


def test_no_module_and_no_function_is_longer_than_can_be_read_at_once() -> None:
    long = [name_of(module) for module in MODULES if len(module.read_text(encoding="utf-8").splitlines()) > 300]
    for module in MODULES:
        functions = (node for node in nodes(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        sizes = ((function, (function.end_lineno or 0) - function.lineno + 1) for function in functions)
        long += [f"{name_of(module)}:{function.lineno} {function.name}" for function, lines in sizes if lines > 40]
    assert not long
