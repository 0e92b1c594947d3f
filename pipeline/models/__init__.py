"""From a profile to its parts: `loader` opens each on first use, `doctor` says what is missing. Above all stages."""
