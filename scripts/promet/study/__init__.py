"""Who is here, what bytes they have, which part of the split they are in: the one reader of each."""
