"""Work with prompts outside a study: train, evaluate, predict, suggest, list, fetch."""
