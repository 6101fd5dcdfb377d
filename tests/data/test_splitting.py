from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from toolkit.data.splitting import Item, split_dataset

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@st.composite
def data_sets(draw: st.DrawFn) -> list[Item]:
    """Images with labels; groups hold one label each; some have the same bytes as another of their group."""
    rows = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6) | st.none(), st.booleans()), max_size=60))
    items: list[Item] = []
    for number, (label, group, repeated) in enumerate(rows):
        twin = next((item for item in items if item.label == label and item.group == f"{label}{group}"), None)
        sha256 = twin.sha256 if twin and repeated else f"{number:064x}"
        items.append(Item(f"{label}/{number}.png", sha256, label, None if group is None else f"{label}{group}"))
    return items


@st.composite
def all_shares(draw: st.DrawFn) -> dict[str, float]:
    weights = draw(st.tuples(st.integers(1, 10), st.integers(0, 5), st.integers(0, 5)))
    return {subset: weight / sum(weights) for subset, weight in zip(SHARES, weights, strict=True)}


@given(items=data_sets(), shares=all_shares(), seed=st.integers(0, 99))
def test_split_dataset_places_every_image_once_whatever_the_set(
    items: list[Item], shares: dict[str, float], seed: int
) -> None:
    placed = split_dataset(items, shares, seed)
    assert placed.keys() == {item.name for item in items}
    assert all(shares[subset] > 0 for subset in placed.values())


@given(items=data_sets(), shares=all_shares(), seed=st.integers(0, 99))
def test_split_dataset_keeps_groups_and_copies_together(items: list[Item], shares: dict[str, float], seed: int) -> None:
    placed = split_dataset(items, shares, seed)
    for key in ("group", "sha256"):
        where: dict[str, set[str]] = {}
        for item in items:
            if getattr(item, key) is not None:
                where.setdefault(getattr(item, key), set()).add(placed[item.name])
        assert all(len(subsets) == 1 for subsets in where.values())


@given(items=data_sets(), shares=all_shares(), seed=st.integers(0, 99))
def test_split_dataset_is_within_one_unit_of_the_shares(items: list[Item], shares: dict[str, float], seed: int) -> None:
    placed = split_dataset(items, shares, seed)
    for label in {item.label for item in items}:
        own = [item for item in items if item.label == label]
        largest = max(Counter(item.group or item.sha256 for item in own).values())
        counts = Counter(placed[item.name] for item in own)
        assert all(abs(counts[subset] - share * len(own)) <= 2 * largest for subset, share in shares.items())
        if largest == 1:
            assert all(abs(counts[subset] - share * len(own)) < 1 + 1e-9 for subset, share in shares.items())


@given(items=data_sets(), seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_split_dataset_ignores_the_order_of_images(items: list[Item], seed: int, order: object) -> None:
    shuffled = items.copy()
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split_dataset(shuffled, SHARES, seed) == split_dataset(items, SHARES, seed)


def test_split_dataset_differs_when_the_seed_does() -> None:
    items = [Item(f"{number}", f"{number:064x}", "a") for number in range(100)]
    assert split_dataset(items, SHARES, 0) != split_dataset(items, SHARES, 1)
    assert Counter(split_dataset(items, SHARES, 0).values()) == {"train": 70, "validation": 10, "test": 20}


@given(
    st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=120),
    st.integers(0, 5),
    st.sampled_from(({"train": 0.6, "validation": 0.15, "test": 0.25}, {"train": 0.9, "validation": 0.1})),
)
def test_split_dataset_shares_out_every_label_when_multi_label(
    held: list[set[str]], seed: int, shares: dict[str, float]
) -> None:
    items = [
        Item(f"{n}.png", f"{n:x}", ";".join(sorted(labels)), None, tuple(sorted(labels)))
        for n, labels in enumerate(held)
    ]
    placed = split_dataset(items, shares, seed)
    assert placed == split_dataset(items[::-1], shares, seed)
    assert sorted(placed) == sorted(item.name for item in items)
    rarest = min("abcd", key=lambda label: (sum(label in labels for labels in held) or 1000, label))
    for subset, share in shares.items():
        there = sum(placed[f"{n}.png"] == subset for n, labels in enumerate(held) if rarest in labels)
        assert abs(there - share * sum(rarest in labels for labels in held)) <= 1
