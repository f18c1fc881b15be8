"""Model families in plain PyTorch: networks, weights, tokenizer, and the processing of images, text, state and action.

Everything above may import `family` and `shared`, never a family; it imports only `errors` and `hub`, and knows no Ray,
parallelism or dataset.
"""
