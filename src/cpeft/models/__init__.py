"""The only room that imports transformers' model classes."""
