"""What each input adds to the multimodal score."""
