"""Validates the products of finished jobs and warps them to the cube's grid."""
