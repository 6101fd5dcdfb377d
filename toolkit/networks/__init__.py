"""Backbones (a table of rows) and heads, and the models made of one of each."""

from toolkit.networks.bn_folding import features_trained
from toolkit.networks.build import assemble, features_part, fine_tuned_variables, head_part, logits_part, parted
from toolkit.networks.custom import find_for
from toolkit.networks.heads import HEADS, Head, find_head
from toolkit.networks.openvino_export import take_images, trace
from toolkit.networks.registry import NETWORKS, Network, find
from toolkit.networks.tf_compat import rename
from toolkit.networks.tf_runtime import start_tensorflow

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
    "take_images",
    "trace",
]
