"""The cube: its store, schema, layers, manifest, versions, reading and verifying."""
