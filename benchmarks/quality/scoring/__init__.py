"""The measures. Each is verified against published figures, a reference library, or figures worked out by hand."""
