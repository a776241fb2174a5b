# The WAN side of a Communications Hub: an SMP (Simple Management Protocol, MCUmgr) server that any
# SMP client can talk to. `server` joins the rest: `framing` below it, a group object a command group.
