"""One training run on disk: layout, segments, writer, reader, pack."""
