"""Finished jobs checked, and warped to the cube's grid."""
