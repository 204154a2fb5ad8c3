"""How fast the library is beside the other recurrent networks, measured side by side."""
