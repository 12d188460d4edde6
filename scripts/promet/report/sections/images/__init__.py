"""The images: inputs by part, measures, the gallery of quality pictures."""
