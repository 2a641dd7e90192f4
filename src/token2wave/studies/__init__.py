"""Studies of the papers' claims: each gives data first, and draws its figures from that data alone."""
