"""The experiment document: one typed schema, from which flags, JSON schema, Helm values and stage keys are generated.

Everything above may import it; it imports only `errors` (and pydantic), never Ray, torch or boto3.
"""
