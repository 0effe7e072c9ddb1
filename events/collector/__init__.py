"""The Graph-compatible door: a bare ASGI app and the group commit behind it. No Django here.

`app` speaks HTTP, `tokens` knows whose token it is, `writer` gathers what arrives, `plan` decides what
becomes of it, `append` writes it in one transaction over a `link`.
"""
