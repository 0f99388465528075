"""Forward passes of our own, for models where they are proven equal to transformers' at load.

Each says why it exists, what it gained and which slow path is its oracle. Every other model, and every model whose check
fails, goes through transformers.
"""
