"""`make demo`: the main job, played through the front doors, on real traffic.

A partner is made by the operator's command. Its owner signs up from the mail it got, sets the partner up, and
invites four shops. Each connects its pixel by an auth option of its own. Then one shop's events come in over HTTP,
raw and from Meta's own SDK, and are looked for at "Meta", each once; its token dies there, is found dead, and is
mended, and what waited is delivered. Nothing here touches the database.
"""
