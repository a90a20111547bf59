"""`make demo`: the same requests to a failing server, once bare and once through seawall, side by side."""
