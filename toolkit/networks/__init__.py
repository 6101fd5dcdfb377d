"""Networks: backbones (one row each), heads, and the models built from them."""

from toolkit.networks.bn_folding import features_trained
from toolkit.networks.build import assemble, features_part, fine_tuned_variables, head_part, logits_part, split_model
from toolkit.networks.custom import resolve_network
from toolkit.networks.heads import HEADS, Head, find_head
from toolkit.networks.openvino_export import add_uint8_input, trace
from toolkit.networks.registry import NETWORKS, Network, find_network
from toolkit.networks.tf_compat import rename
from toolkit.networks.tf_runtime import start_tensorflow

__all__ = [
    "HEADS",
    "NETWORKS",
    "Head",
    "Network",
    "add_uint8_input",
    "assemble",
    "features_part",
    "features_trained",
    "find_head",
    "find_network",
    "fine_tuned_variables",
    "head_part",
    "logits_part",
    "rename",
    "resolve_network",
    "split_model",
    "start_tensorflow",
    "trace",
]
