"""Every picture's life in one SQLite file, one terminal record each."""
