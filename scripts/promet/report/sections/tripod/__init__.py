"""TRIPOD+AI checklist and model card."""
