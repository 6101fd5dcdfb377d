"""Training: two stages per trial, resumable after any epoch, judged on the test images."""

from toolkit.train.inference import evaluate_folder, rank
from toolkit.train.run_dir import load_keras
from toolkit.train.sweep import Swept, train_trials
from toolkit.train.sweep_options import Way, choose_way
from toolkit.train.trial import train_trial
from toolkit.train.trial_filter import choose_last, choose_trials

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
