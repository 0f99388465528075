"""What one does with prompts without a study: train, evaluate, predict, suggest, list, fetch."""
