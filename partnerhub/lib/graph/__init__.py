"""The only code that talks HTTP to Graph: client, typed errors, Meta's limits, remedies in words."""

import functools

from partnerhub.lib.config import config
from partnerhub.lib.graph.client import GraphAnswer, GraphClient, GraphProbe

__all__ = ["GraphAnswer", "GraphClient", "GraphProbe", "graph_client"]


@functools.cache
def graph_client() -> GraphClient:
    """This process's client, as the settings want it."""
    return GraphClient(base_url=config().graph_api_base_url, version=config().graph_api_version)
