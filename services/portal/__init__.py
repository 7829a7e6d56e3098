"""Pages for people: customers, developers, operators. It calls the public APIs with the token of who is signed in.

Reads:  nothing
Writes: nothing
Owns:   portal_sessions (MongoDB)
"""
