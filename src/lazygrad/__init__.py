"""lazygrad."""
