"""Parts that several model families share: action head, DiT, Qwen3 layers, and the processing of images, text, state
and action.

Plain PyTorch and numpy. Imports only `errors` and its own files; never a family.
"""
