"""Video files: which packets a set of frames needs, decoding, crop and resize, encoding, and single-frame reads for training.

Knows files and pixels only; convert, dataset (for training) and embodiment (for live camera frames) may import it."""
