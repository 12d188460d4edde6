"""Who is in the study: flow of the cohort, exclusions, Table 1, missing values, sites, outliers."""
