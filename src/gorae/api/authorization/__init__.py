"""The authorization hook: plugins that are asked before a request is carried out, and before its answer is sent.

    model      Question, Outcome, Decision: what a plugin is told and what it says
    chain      all configured plugins; the first that refuses, fails or is late ends the request
    entry      plugins written in Python: the entry point group `gorae.authorization`
    discovery  Docker's plugins: sockets, .spec and .json files
    plugin     Docker's protocol: /Plugin.Activate, /AuthZPlugin.AuthZReq, /AuthZPlugin.AuthZRes

Nothing of this is loaded unless daemon.json has `authorization-plugins`. Start with `chain`.
"""
