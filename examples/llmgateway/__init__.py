"""LLM gateway: one API in front of two providers of language models, kept up by seawall.

`seawall.toml` holds every policy with its figures, `chat.py` how a request is answered while a provider fails,
`upstream.py` what is said to the providers. The providers themselves, and the list of models that is asked for over
HTTP, are stand-ins of our own on sockets of their own (`standins.py`), so one command starts it all:
`python -m examples.llmgateway`.
"""
