"""The page for people: repositories, tags, sizes, layers. Plain HTML made here, without a script.

    html     escaped pieces of a document, and its one style sheet
    facts    what the page tells: read from manifests and configurations, bounded
    pages    which page, for whom

Everything that is shown came from outside once, so nothing reaches a document but through `html`. Start with `pages`.
"""
