"""Training: two stages per trial, resumable after any epoch, judged on the test pictures."""

from toolkit.train.answers import evaluate_folder, rank
from toolkit.train.records import load_keras
from toolkit.train.selection import choose_last, choose_trials
from toolkit.train.sweep import Swept, train_trials
from toolkit.train.trial import train_trial
from toolkit.train.way import Way, choose_way

__all__ = [
    "Swept",
    "Way",
    "choose_last",
    "choose_trials",
    "choose_way",
    "evaluate_folder",
    "load_keras",
    "rank",
    "train_trial",
    "train_trials",
]
