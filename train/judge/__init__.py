"""How good a training is: folds, calibration, figures, plots."""
