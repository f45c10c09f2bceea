"""Pages for people who look. Server-rendered; reading needs no script. One file for each page, and its addresses at its end; all
of them together are in routes.py. Nothing is imported here: the door itself needs render.py."""
