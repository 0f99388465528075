"""From a trained learner to predictions, and from predictions to scores with intervals."""
