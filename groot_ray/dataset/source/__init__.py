"""Source datasets as robots record them, one module per format."""
