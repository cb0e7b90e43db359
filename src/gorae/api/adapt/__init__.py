"""Docker's wire shapes ↔ the engine's types. Pure functions; the only rooms where both spellings are known.

Every field that Docker knows and the engine does not honour, and that is not at its default, becomes a warning naming it
(`unheeded`): nothing is accepted in silence.
"""
