"""The log of a container on disk: what its program wrote, when, and on which stream.

    record   the format of a chunk record: a pure codec, drawn there
    writer   appends whole chunks and rotates (used by the supervisor, inside its loop: never blocks, never raises for a full disk)
    reader   gives lines back: tail, since, until, follow over rotation (used by the engine)

Not in here: who pumps the bytes (`supervisor.stdio`), Docker's framing on the wire (`wire`). Start with `record`.
"""
