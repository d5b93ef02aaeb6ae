"""What everything else stands on: errors, files, pictures, texts, records."""
