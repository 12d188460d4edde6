"""The forms of the files that two rooms share: who makes one writes through it, who reads one reads through it."""
