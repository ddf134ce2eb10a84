"""Every run that ever failed, as a script: ``README.md`` says how they are kept."""
