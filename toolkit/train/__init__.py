"""Training: two stages per trial, resumable after any epoch, judged on the test pictures."""

from toolkit.train.answers import evaluate_folder, rank
from toolkit.train.records import load_keras
from toolkit.train.trial import train_trial

__all__ = ["evaluate_folder", "load_keras", "rank", "train_trial"]
