"""Who may have which token: pure."""
