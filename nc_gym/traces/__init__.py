"""Recordings of real computers: users, recorder, cast files, training shards."""
