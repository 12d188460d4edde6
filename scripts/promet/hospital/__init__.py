"""In and out of the hospital: images from a PACS, results back to it, a study as a crate."""
