"""What every room shares: pins, sidecars, atomic writes, errors with codes, the stage runner."""
