"""Several variants of a model as one release of a channel or an archive; each device takes the one that suits it.

The choice is that of `toolkit bench --choose`, written into the channel's signed statement. The device's side is
toolkit/device/runtime/variant.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.artifacts.bench import VariantChoice
from toolkit.artifacts.bundle import Bundle
from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.model_variants import choices_by_kind, eligible_variants, manifest_of, trained_model
from toolkit.bundle.release import release_tree
from toolkit.deploy.compatibility import variant_requirements
from toolkit.device.runtime.variant import MAX_KINDS, MAX_TEXT, MAX_VARIANTS
from toolkit.errors import Problem, UsageError
from toolkit.fleet.transfer.tree import FileTree
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class VariantSet:
    """The variants of a model that are published together."""

    folders: tuple[Path, ...]
    """The bundles besides the default."""
    trees: tuple[FileTree, ...]
    """Their releases."""
    choice: Mapping[str, object]
    """What the statement says of them and of the default."""
    kinds: Mapping[str, str]
    """The name of the variant for each kind of device."""

    def write_bills(self, folder: Path) -> None:
        """Write the bill of materials and the VEX document of each release to a folder."""
        for bundle, tree in zip(self.folders, self.trees, strict=True):
            write_bills(tree, bundle, folder)


def collect_variants(default: Path, workspace: Workspace, store: Store) -> VariantSet:
    """Return the eligible variants of a bundle's model on every measured kind; other kinds take the bundle itself.

    Raises:
        UsageError: no kind was measured, a variant is not in the workspace or of another model, or there are too many.
        BundleError: a bundle differs from its manifest.
    """
    choices = choices_by_kind(default, store)
    known = {bundle.digest: workspace.absolute(bundle.path) for bundle in store.all(Bundle)}
    problems = list(dict.fromkeys(_problems(default, choices, known)))
    if problems:
        raise UsageError.from_problems(problems)
    folders = {release_tree(default).parent: default}
    for choice in choices.values():
        folders |= {each.bundle: known[each.bundle] for each in eligible_variants(choice) if each.bundle not in folders}
    if len(folders) > MAX_VARIANTS or len(choices) > MAX_KINDS:
        what = (
            f"{len(folders)} variants for {len(choices)} kinds of devices; at most {MAX_VARIANTS} for {MAX_KINDS} fit"
        )
        raise UsageError(what, where=str(default), remedy="publish them to several channels, without --fastest")
    trees = {bundle: release_tree(folder) for bundle, folder in folders.items()}
    names = {bundle: str(manifest_of(folder)["name"])[:MAX_TEXT] for bundle, folder in folders.items()}
    releases = [
        {"release": tree.digest, "name": names[bundle], **variant_requirements(manifest_of(folders[bundle]))}
        for bundle, tree in trees.items()
    ]
    kinds = {
        choice.kind: {
            "releases": [trees[each.bundle].digest for each in eligible_variants(choice)],
            "reason": choice.reason[:MAX_TEXT],
        }
        for choice in choices.values()
    }
    return VariantSet(
        folders=tuple(folders.values())[1:],
        trees=tuple(trees.values())[1:],
        choice={"releases": releases, "kinds": kinds},
        kinds={kind: names[choice.bundle] for kind, choice in choices.items()},
    )


def _problems(default: Path, choices: Mapping[str, VariantChoice], known: Mapping[str, Path]) -> Iterator[Problem]:
    """Yield why eligible variants cannot be published together."""
    own = manifest_of(default)
    for choice in choices.values():
        for variant in eligible_variants(choice):
            folder = known.get(variant.bundle)
            manifest = manifest_of(folder) if folder else {}
            place = f"{variant.name} ({variant.bundle[:12]})"
            if folder is None or not manifest:
                remedy = "convert it again, or measure what is there: toolkit bench BUNDLE --choose --fleet"
                yield Problem(f"was measured on {choice.kind} and is no longer in this workspace", place, remedy)
            elif trained_model(folder) != trained_model(default) or manifest.get("labels") != own.get("labels"):
                remedy = "measure this model's variants: toolkit bench BUNDLE --choose --fleet"
                yield Problem(f"is not a variant of the model of {own.get('name')}", place, remedy)


def require_key(variants: VariantSet | None, key: Path | None) -> None:
    """Check that what holds several variants is signed.

    Raises:
        UsageError: it is not.
    """
    if variants and key is None:
        remedy = "add --sign KEY: the channel's signed statement tells devices which variant to take"
        raise UsageError("a release that is not signed has no statement", where="--fastest", remedy=remedy)


def variant_trees(tree: FileTree, variants: VariantSet | None) -> Sequence[FileTree]:
    """Return the release of the default, then those of the other variants."""
    return (tree, *variants.trees) if variants else (tree,)
