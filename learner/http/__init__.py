"""The models over HTTP, for people without a Redis client: ``learner serve``.

::

    operations     the table of routes: who may use each, and what it takes and gives
    asking         predictions, examples and outcomes: the client's conversations
    looking        what models are and how they do: what the commands print with --json
    bodies         what a request holds, within bounds
    refusals       errors as answers
    tokens         who may do what
    counting       the server's own metrics
    description    the operations as an OpenAPI document, and as a page
    application    all of it together
    running        the server process
    page/          the page in the browser: files that are served as they are

Answers are those of the wire, and so are bounds and error words: the record of a request goes to the worker as it came.
"""
