"""The one database: who wrote what, in which order, kept through kill -9 and power loss.

In here: `schema` (every table, its owner and columns, as numbered migrations) and `database` (one writer thread, readers
beside it). Not in here: queries; they stand with the code that owns the table. Start at `database.py`.
"""
