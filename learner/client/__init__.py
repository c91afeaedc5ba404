"""The clients that applications import: they push examples and ask for predictions.

::

    batches        packs examples into entries of the stream
    answers        makes requests of records, and values of replies
    asking         sends a request and waits for its reply
    diagnosis      why nobody answered, in words
    pipeline       single pushes that are sent together
    conversations  what is said to the server, step by step, for both clients
    connections    what the conversations of asyncio's clients are carried out with
    runs           the examples of a file, as entries hold them
    blocking       `Client`, for threads
    asynchronous   `AsyncClient`, for asyncio

Any language can do the same with plain Redis commands: see the protocol in `learner/service/README.md`.
"""

from learner.client.asynchronous import AsyncClient
from learner.client.batches import BATCH_EXAMPLES, PIPELINE_ENTRIES
from learner.client.blocking import Client

__all__ = ["BATCH_EXAMPLES", "PIPELINE_ENTRIES", "AsyncClient", "Client"]
