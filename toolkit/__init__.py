"""The Edge Vision Toolkit: train, convert, deploy and measure picture classifiers at the edge."""

__version__ = "0.1.0"
