"""Numbers that several rooms take, each said once."""

SHAPE = (14, 54, 54)  # of the cuboid, voxels (z, y, x); paper
SPACING_MM = (5.0, 1.37, 1.37)  # of its voxels, mm (z, y, x); paper
PROSTATE_ML = (5.0, 400.0)  # outside of this a mask is more likely another structure
