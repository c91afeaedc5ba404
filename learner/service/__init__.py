"""The service: a model on Redis. `worker` at the top of the project is the loop; each of its concerns is a module here.

================  =========================================================================================================
``owning``        waiting for one's turn and taking over; ``lease``: signs of life
``reading``       how much is read at a time
``answering``     requests wait in a queue, and are answered for a fair share of the time
``learning``      entries are decoded, featurized, learned or rejected; ``acceptance``: too many rejected; ``recent``: ids
``flushing``      when few examples come, those that the model holds back are learned all the same
``committing``    when a snapshot is made and written; ``writing``: beside learning
``recovery``      after a crash; ``trial``: what kills a process is tried in a child
``reconnecting``  work is tried again while the server can't serve
``wire``          the protocol: keys, entries, requests, replies
``store``         every Redis command of the service
================  =========================================================================================================
"""
