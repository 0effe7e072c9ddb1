"""Delivering each pixel's log to Meta: claim, send, settle, and what mends the rest (docs/delivery.md).

A turn of a pixel claims a range of its log under a lease, marks it before it sends, sends outside of any
transaction, and settles it by what came back. Whatever dies in between is found by its lease.
"""
