"""The measures, each verified against published figures, a kept library, or figures worked out by hand."""
