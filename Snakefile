"""promet: from PSMA PET/CT, masks and a clinical table to a prognostic model and its report.

The workflow is workflow/Snakefile, where Snakemake's catalogue and snakedeploy look for it.
"""


include: "workflow/Snakefile"


workflow.default_target = "all"  # an include sets none
