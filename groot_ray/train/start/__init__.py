"""The start of a run: processor and network of the base checkpoint, tag, modality configuration, statistics.

Goes through the model family's protocol and names none of its classes. May import `order`, `step` and `checkpoints`;
`recording` and `worker` import it.
"""
