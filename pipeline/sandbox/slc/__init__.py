"""Single look complex data of the simulated event: orbits, geometry, signal, and the files in ASF's form."""
