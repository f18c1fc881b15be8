"""GR00T N1.6 in plain PyTorch, with its weights, its tokenizer and the processing of images, text, state and action around it.

Everything above may import it; it imports only `errors`, and knows no Ray, no parallelism and no dataset.
"""
