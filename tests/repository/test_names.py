"""Names: one term per concept, as docs/glossary.md defines them, and packages that can be surveyed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from toolkit.cli.main import app

OLD_MODULES = frozenset(
    [
        "answers",
        "applying",
        "arrays",
        "beside",
        "bullseye",
        "care",
        "digests",
        "eras",
        "fitness",
        "foreign",
        "foreign_words",
        "forms",
        "growing",
        "growth",
        "imaging",
        "judging",
        "keeping",
        "kept_checks",
        "labelwise",
        "lifetimes",
        "meters",
        "numbering",
        "offers",
        "own",
        "painting",
        "past",
        "peers",
        "places",
        "preparing",
        "products",
        "pruning",
        "publishing",
        "pythons",
        "readers",
        "receiving",
        "refusals",
        "rehearsal",
        "rehearsing",
        "resolving",
        "returning",
        "reverting",
        "shifts",
        "stations",
        "stick",
        "stuck",
        "subjects",
        "surveys",
        "told",
        "troubles",
        "truth",
        "turns",
        "undo",
        "untuned",
        "way",
        "wheels",
        "words",
    ]
)
"""Module names that were replaced."""
BANNED = frozenset({"said", "told", "kept", "given", "wanted"})
"""Not names: say what the thing is."""
MIRRORS = {
    "ansible": "what is checked, and the code that uses it",
    "base": "the interface of the package it lies in",
    "bench": "a verb, and the records it makes",
    "build": "a verb, and how a network is put together",
    "collect": "a verb, and what it runs",
    "connection": "to a device over SSH; to the database",
    "container_engine": "what is checked, and the code that uses it",
    "dataset": "images with labels, in each place that has its own",
    "decoding": "of images, on the controller and on the device",
    "errors": "the exception tree of the controller, and the device's own",
    "files": "on the controller's disk; as a source of frames",
    "fleet": "a verb, and the devices it lists",
    "health": "of a service: the gate, and its check on the device",
    "inference": "with a trained model, on the controller and on the device",
    "inspection": "of an IR and of a Keras model",
    "latency_history": "the data and the table of it",
    "legacy_openvino": "what is checked, and the code that uses it",
    "load": "reads the file that its package is named after",
    "local": "on this machine instead of on others",
    "loop": "a verb, and the training loop",
    "lock": "one at a time: rollouts and benches",
    "misclassified": "images that a model got wrong: found, and shown",
    "model": "a trained model, and an imported one",
    "ncs2_compiler": "what is checked, and the code that uses it",
    "oci_registry": "both ends of one protocol",
    "options": "of the command, of an import and of SSH",
    "parity": "a verb, and what it does",
    "plan": "what would be done, before it is done",
    "predict": "a verb, on the controller and on the device",
    "process": "a child process and its handle",
    "publish": "a verb, and what it does",
    "resolve": "from an argument to what it names",
    "retrain": "a verb, and what it does",
    "rollback": "a verb, and what it does",
    "rules": "of alerts; of lowering",
    "run": "a verb, and the program of the bench",
    "sd_image": "a verb, and what it does",
    "serve": "a verb, and what it runs",
    "server": "of HTTP; of SSH",
    "session": "one bench; one SSH login; one deployment, on either side",
    "status": "a verb, and both ends of what it shows",
    "targets": "what is measured; what a model learns",
    "verify": "of a bundle and of a release",
    "watch": "a verb, and what it does",
    "weights": "what is checked, and the code that uses it",
    "worker": "a child process that does the work of its package",
    "workspace": "what is checked, and the code that uses it",
}
"""Module names that several packages share, and what they mean in each of them."""
MANY_MODULES = {
    "toolkit/cli": "one module per verb",
}
OLD_NAMES = frozenset(
    [
        "against_past",
        "begun",
        "bring",
        "bring_in",
        "choose_way",
        "data_words",
        "era",
        "eras",
        "faster_half",
        "folders_of",
        "found",
        "foreign",
        "forms",
        "give_back",
        "give_probabilities",
        "glance",
        "growth",
        "growths",
        "guard",
        "hear",
        "house",
        "in_turns",
        "keeping",
        "kept_checks",
        "knows",
        "labelwise",
        "laid_out",
        "lessons",
        "look",
        "looked",
        "many",
        "measure_on",
        "mend",
        "mended",
        "models_beside",
        "mood",
        "name_in_words",
        "numbering",
        "offer_of",
        "open_while",
        "picture",
        "picture_set",
        "pictures",
        "pictures_words",
        "quickly_fit",
        "reaching",
        "rehearsal",
        "rehearsing",
        "room",
        "run_beside",
        "said_of",
        "say",
        "say_where",
        "says",
        "shortcomings",
        "stands_in",
        "station",
        "surroundings",
        "take_pictures",
        "tell",
        "telling",
        "tells",
        "thing",
        "things",
        "told_nobody",
        "top_of",
        "trouble",
        "tune_untuned",
        "turns",
        "unfit",
        "untuned",
        "what_is_left",
        "wish",
        "with_image",
        "words",
        "written_whole",
        "yardstick",
        "Bandwidth",
        "Begun",
        "Between",
        "Chances",
        "Checked",
        "Ended",
        "Foreign",
        "Form",
        "Found",
        "Gathered",
        "Glance",
        "Growth",
        "Guard",
        "Guess",
        "Keeper",
        "Kept",
        "Labelled",
        "Left",
        "Lessons",
        "Lifetimes",
        "Offer",
        "Opened",
        "Prospect",
        "Reach",
        "Rehearsal",
        "Said",
        "SecureShell",
        "Sending",
        "Serving",
        "Shown",
        "Staged",
        "Station",
        "Subject",
        "Surroundings",
        "Survey",
        "Swept",
        "Telling",
        "Told",
        "Trouble",
        "Turns",
        "Untracked",
        "Vitals",
        "Wanted",
        "Way",
        "Whole",
        "Wish",
        "Yardstick",
    ]
)
"""Names of functions, classes and variables that were replaced."""
PLAIN_IN_TESTS = frozenset({"many", "room"})
"""Old names that mean what they say in tests: a large number, and a room of a building."""
SPEECH = BANNED | {"say", "says", "tell", "tells", "hear", "heard", "found", "look", "looked", "words"}
"""Not parts of names either: say `log`, `report`, `result`."""
STILL_LONG = 0
"""Names of tests over 60 characters that are left; only ever lower it."""


@pytest.fixture(scope="module")
def modules(repository: Path, tracked: tuple[Path, ...]) -> tuple[Path, ...]:
    """Every module of the package."""
    return tuple(path for path in tracked if repository / "toolkit" in path.parents and path.suffix == ".py")


def commands(group: Any, path: str = "toolkit") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")


def summary(command: Any) -> str:
    return str(command.help or "").partition("\n")[0]


def named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "name", "arg", "attr"):
            if isinstance(name := getattr(node, field, None), str):
                yield name.strip("_")


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module gives: to functions, classes, arguments and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_modules_have_no_old_names(modules: tuple[Path, ...]) -> None:
    assert [str(path) for path in modules if path.stem in OLD_MODULES] == []


def test_replaced_names_do_not_come_back(repository: Path, tracked: tuple[Path, ...]) -> None:
    uses = {
        f"{path.relative_to(repository)}: {name}"
        for path in tracked
        if path.suffix == ".py"
        for name in defined(ast.parse(path.read_text()))
        if name.strip("_") in (OLD_NAMES - PLAIN_IN_TESTS if repository / "tests" in path.parents else OLD_NAMES)
    }
    assert uses == set()


def test_names_have_no_verbs_of_speech(repository: Path, modules: tuple[Path, ...]) -> None:
    uses = {
        f"{path.relative_to(repository)}: {name}"
        for path in modules
        for name in defined(ast.parse(path.read_text()))
        if not SPEECH.isdisjoint(name.lower().split("_"))
    }
    assert uses == set()


def test_module_names_mean_one_thing(repository: Path, modules: tuple[Path, ...]) -> None:
    places = defaultdict(list)
    for path in modules:
        places[path.stem].append(str(path.relative_to(repository)))
    shared = {name: paths for name, paths in places.items() if len(paths) > 1 and not name.startswith("__")}
    assert {name: paths for name, paths in shared.items() if name not in MIRRORS} == {}
    assert MIRRORS.keys() - shared.keys() == set(), "these no longer occur twice"


def test_packages_hold_at_most_15_modules(repository: Path, tracked: tuple[Path, ...]) -> None:
    sizes: dict[str, int] = defaultdict(int)
    for path in tracked:
        if path.suffix == ".py" and not {repository / "toolkit", repository / "tests"}.isdisjoint(path.parents):
            sizes[str(path.parent.relative_to(repository))] += path.stem != "__init__"
    assert {folder: size for folder, size in sizes.items() if size > 15 and folder not in MANY_MODULES} == {}


def test_names_are_nouns_not_participles(repository: Path, tracked: tuple[Path, ...]) -> None:
    uses = {
        f"{path.relative_to(repository)}: {name}"
        for path in tracked
        if path.suffix == ".py"
        for tree in [ast.parse(path.read_text())]
        for name in named(tree)
        if name in BANNED and not (name == "given" and imports_given(tree))
    }
    assert uses == set()


def imports_given(tree: ast.AST) -> bool:
    """Hypothesis' decorator."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "hypothesis"
        and "given" in {name.name for name in node.names}
        for node in ast.walk(tree)
    )


def test_class_names_mean_one_thing(repository: Path, modules: tuple[Path, ...]) -> None:
    places = defaultdict(list)
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(repository)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_test_names_are_short(tracked: tuple[Path, ...]) -> None:
    names = [
        node.name
        for path in tracked
        if path.name.startswith("test_") and path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > 60
    ]
    assert len(names) <= STILL_LONG, names


def test_command_summaries_are_short() -> None:
    result = dict(commands(typer.main.get_command(app)))
    assert {path: summary(command) for path, command in result.items() if not 0 < len(summary(command)) <= 45} == {}


def test_help_shows_every_summary_whole_at_80_columns() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "toolkit", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "80", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
    ).stdout
    group: Any = typer.main.get_command(app)
    assert [name for name, command in group.commands.items() if summary(command) not in shown] == []


def test_options_show_words_as_metavars() -> None:
    bare = [
        f"{path} {option.opts[0]}"
        for path, command in commands(typer.main.get_command(app))
        for option in command.params
        if option.param_type_name == "option"
        and not (option.is_flag or option.count or option.metavar or option.type_descriptor.is_choice)
    ]
    assert bare == []
