"""A stand-in for Meta's Graph API, run as a process of its own: `python -m partnerhub.sandbox --port N`.

It knows what Meta documents and no more, keeps what it received so that tests can count, and fails on demand.
It imports nothing of the product and is imported by none of it: they meet over HTTP and SMTP.
"""
