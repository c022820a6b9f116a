"""The real computers. Knows nothing of torch or Gymnasium."""
