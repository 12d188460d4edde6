"""Numbers that several rooms take, each said once."""

SHAPE = (14, 54, 54)  # of the cuboid, voxels (z, y, x); paper
SPACING_MM = (5.0, 1.37, 1.37)  # of its voxels, mm (z, y, x); paper
# Where uptake counts as raised (Alipour: watershed with a floor of SUV 4). The setting may leave it; the surrogate of the
# PRIMARY score keeps it, or the scores of two studies would not be the same thing.
RAISED_SUV = 4.0
PROSTATE_ML = (5.0, 400.0)  # outside of this a mask is more likely another structure
TOTALSEGMENTATOR = "totalsegmentator"  # the one external program that promet knows how to call
