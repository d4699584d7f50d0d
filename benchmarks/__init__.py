"""What the product promises in figures, measured; each module prints one JSON object."""
