"""Who is let in: signatures, nonces, peers and rates. No sockets and no HTTP here."""
