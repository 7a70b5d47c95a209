"""The cube on disk: schema, layers, manifest, versions, reading and verifying."""
