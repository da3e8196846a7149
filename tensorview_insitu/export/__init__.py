"""A run -> files that other programs open: VTK image and poly data, CSV, index.json."""
