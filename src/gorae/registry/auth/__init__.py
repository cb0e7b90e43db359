"""Who may do what.

    access      rights, and the two things that the wire asks: who is it (`Guard`), may they (`Access`)
    policy      the file that says which user may do what in which repositories
    passwords   htpasswd: bcrypt only
    keys        the keys that tokens are signed with and checked against: only from files
    tokens      our own issuer, and what a token must say to be believed
    guards      nobody asks · basic · token

Credentials and keys come from files alone, never from a request. Start with `access`.
"""
