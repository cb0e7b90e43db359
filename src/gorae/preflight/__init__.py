"""Is this machine fit? What `gorae check` prints.

    facts        what is so here: looked up once, by calls that change nothing        Facts
      ▼
    evaluation   pure: what that means, and what to do about it                       tuple[Finding, …] → verdict (exit status)
    kernel · cgroups · rights · storage · distribution    one part of the evaluation each
    support      until when each distribution is supported: data

Start at `evaluation.evaluate`. Not here: printing (the CLI), and any repair.
"""
