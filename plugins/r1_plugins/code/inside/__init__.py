"""What runs inside a sandbox: the standard library alone, started by path, never with r1core beside it.

`warden` is a process of ours that starts `cell`s and ends them; a cell is a process that first gives up all that it
does not need (`confine`) and then runs what a model wrote. No expected output ever comes here.
"""
