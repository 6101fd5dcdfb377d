"""From captured images to the next model: labels, versions of the data set, retraining."""
