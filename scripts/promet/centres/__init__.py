"""A locked model at other hospitals: validated there, pooled from small files without a patient, updated."""
