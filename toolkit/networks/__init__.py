"""Backbones (a table of rows) and heads, and the models made of one of each."""

from toolkit.networks.assembly import assemble, features_part, fine_tuned_variables, head_part, logits_part
from toolkit.networks.heads import HEADS, Head, find_head
from toolkit.networks.runtime import start_tensorflow
from toolkit.networks.table import NETWORKS, Network, find

__all__ = [
    "HEADS",
    "NETWORKS",
    "Head",
    "Network",
    "assemble",
    "features_part",
    "find",
    "find_head",
    "fine_tuned_variables",
    "head_part",
    "logits_part",
    "start_tensorflow",
]
