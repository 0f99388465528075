"""The tables of a recipe that the engine and the model read, one file each, without the code that reads them."""
