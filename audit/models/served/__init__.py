"""Models behind an OpenAI-compatible server, asked over HTTP; nothing here needs torch."""
