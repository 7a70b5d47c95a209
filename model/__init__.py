"""From a cube to a landslide map: chips, training, scores, maps; without Prefect."""
