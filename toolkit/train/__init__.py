"""Training: up to two stages per trial, resumable after any epoch, evaluated on the test images."""

from toolkit.train.inference import ClassifierSpec, evaluate_folder, evaluate_images, predict
from toolkit.train.run_dir import load_keras
from toolkit.train.sweep import SweepResult, train_trials
from toolkit.train.sweep_options import SweepOptions, parse_sweep_options
from toolkit.train.trial import train_trial
from toolkit.train.trial_filter import last_stage, select_trials

__all__ = [
    "ClassifierSpec",
    "SweepOptions",
    "SweepResult",
    "evaluate_folder",
    "evaluate_images",
    "last_stage",
    "load_keras",
    "parse_sweep_options",
    "predict",
    "select_trials",
    "train_trial",
    "train_trials",
]
