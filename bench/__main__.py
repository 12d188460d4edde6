"""``python -m bench TARGET``: training (speed), null (no effect), effect (the same cohorts with one), coverage, all."""

import sys

from bench import coverage, imaging, null, training

TARGETS = {
    "imaging": imaging.main,
    "training": training.main,
    "null": null.main,
    "effect": lambda: null.main(8, 1.0),
    "coverage": coverage.main,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or ["all"]
    for name in TARGETS if wanted == ["all"] else wanted:
        if name not in TARGETS:
            sys.exit(f"no such target {name}; there are: {', '.join(TARGETS)}, all")
        TARGETS[name]()
