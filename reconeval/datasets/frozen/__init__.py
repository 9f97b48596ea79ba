"""The files of the frozen datasets and their manifest; `tools/make_datasets.py` writes them."""
