from __future__ import annotations

import pytest

from toolkit.artifacts.labeling import CLASS, NOT_SURE, UNKNOWN, LabelDecision
from toolkit.loop.decisions import Choice, record, standing_decisions, undo
from toolkit.store import Store


def labels(store: Store) -> dict[str, str]:
    return {digest: one.label or one.verdict for digest, one in standing_decisions(store).items()}


def test_last_decision_about_a_capture_holds(store: Store) -> None:
    record(store, [Choice("a", CLASS, "cat"), Choice("b", UNKNOWN)], who="ann")
    record(store, [Choice("a", CLASS, "dog")], who="bob")
    assert labels(store) == {"a": "dog", "b": UNKNOWN}
    assert [(one.parent, one.who) for one in store.all(LabelDecision)] == [("a", "ann"), ("b", "ann"), ("a", "bob")]


def test_undo_takes_back_one_keystroke_after_another(store: Store) -> None:
    record(store, [Choice("a", CLASS, "cat")], who="ann")
    record(store, [Choice("a", CLASS, "dog"), Choice("b", CLASS, "dog")], who="ann")
    record(store, [Choice("c", NOT_SURE)], who="bob")
    assert {one.parent for one in undo(store, who="ann")} == {"a", "b"}
    assert labels(store) == {"a": "cat", "c": NOT_SURE}
    assert [one.parent for one in undo(store, who="ann")] == ["a"]
    assert undo(store, who="ann") == ()
    assert labels(store) == {"c": NOT_SURE}


def test_records_are_only_appended(store: Store) -> None:
    for _ in range(2):
        record(store, [Choice("a", CLASS, "cat")], who="ann")
    undo(store, who="ann")
    history = store.all(LabelDecision)
    assert [one.verdict for one in history] == ["class", "class", "undo"]
    assert history[2].undoes == history[1].digest
    assert labels(store) == {"a": "cat"}


@pytest.mark.parametrize("choice", [Choice("a", "class"), Choice("a", "unknown", "cat"), Choice("a", "undo")])
def test_record_refuses_what_is_no_decision(store: Store, choice: Choice) -> None:
    with pytest.raises(ValueError, match="not a decision"):
        record(store, [choice], who="ann")
    assert store.all(LabelDecision) == ()


def test_names_cannot_command_a_terminal(store: Store) -> None:
    record(store, [Choice("a", UNKNOWN)], who="\x1b[2Jann\n\u202ebob")
    (one,) = store.all(LabelDecision)
    assert one.who.isprintable()
