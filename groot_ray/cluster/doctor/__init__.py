"""`groot-ray doctor`: finds mistakes before any resource is requested."""
