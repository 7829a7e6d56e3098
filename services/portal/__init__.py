"""Pages for people: customers, developers, operators. It calls the public APIs with the token of who is signed in.

Reads:  nothing
Writes: nothing
Owns:   portal_sessions, portal_audit, portal_uploads, portal_imports and others (MongoDB)
"""
