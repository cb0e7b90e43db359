"""`gorae`: the command line.

    main                the group: commands are imported when they are called
    connect             the engine to talk to; starts goraed when nobody answers at the default socket
    run                 the story of `gorae run`: create, attach, wait, start, pump, exit status
    lifecycle execute listing inspecting images system check     the other commands, by what they do
    flags               what a word on the command line means (pure)
    container_options   the flags of `run` and `create`; container_config turns them into the engine's JSON (pure)
    terminal            raw mode, window size, signals
    tables template explain      how things look

It sees the engine only through `gorae.client`. Every import at the top of a module here is paid by each `gorae …` in a shell
loop: rich, and whatever else only draws, is imported where it is drawn.
"""
