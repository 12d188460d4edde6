"""From an export of many patients to rows of the cohort table: who is who, which PET, which mask, which CT."""
