"""The embedded chat model: how it was made, from the same world as the embedded OFAs."""
