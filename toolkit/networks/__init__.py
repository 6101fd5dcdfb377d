"""Backbones (a table of rows) and heads, and the models made of one of each."""

from toolkit.networks.assembly import assemble, features_part, fine_tuned_variables, head_part, logits_part, parted
from toolkit.networks.builds import rename
from toolkit.networks.folding import features_trained
from toolkit.networks.heads import HEADS, Head, find_head
from toolkit.networks.own import find_for
from toolkit.networks.runtime import start_tensorflow
from toolkit.networks.table import NETWORKS, Network, find
from toolkit.networks.tracing import take_pictures, trace

__all__ = [
    "HEADS",
    "NETWORKS",
    "Head",
    "Network",
    "assemble",
    "features_part",
    "features_trained",
    "find",
    "find_for",
    "find_head",
    "fine_tuned_variables",
    "head_part",
    "logits_part",
    "parted",
    "rename",
    "start_tensorflow",
    "take_pictures",
    "trace",
]
