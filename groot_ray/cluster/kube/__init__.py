"""The Kubernetes API: a small client, events, and advice on pods that are stuck."""
