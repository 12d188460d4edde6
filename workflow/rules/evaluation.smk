rule evaluate:
    input:
        plan.sidecar("fuse"),
        measures=plan.beside("gather", "measures.json"),
        cohort=ancient(plan.cohort),
    output:
        record=plan.sidecar("evaluate"),
    log:
        f"{plan.logs}/evaluation/evaluate/{{split}}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=lambda wc, attempt: 2000 * attempt,
        runtime=lambda wc, attempt: 20 * attempt,
    params:
        pin=lambda wc: plan.pin("evaluate", split=wc.split),
        settings=lambda wc: plan.settings("evaluate"),
        predictions=plan.beside("fuse", "predictions.parquet"),
        measures=plan.beside("gather", "patients.parquet"),
    shell:
        "promet evaluation evaluate --cohort {input.cohort:q} --predictions {params.predictions:q}"
        " --measures {params.measures:q} --out {output.record:q}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule survive:
    input:
        plan.sidecar("fuse"),
        cohort=ancient(plan.cohort),
    output:
        record=plan.sidecar("survive"),
    log:
        f"{plan.logs}/evaluation/survive/{{split}}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=lambda wc, attempt: 2000 * attempt,
        runtime=lambda wc, attempt: 20 * attempt,
    params:
        pin=lambda wc: plan.pin("survive", split=wc.split),
        settings=lambda wc: plan.settings("survive"),
        predictions=plan.beside("fuse", "predictions.parquet"),
        measures=plan.beside("gather", "patients.parquet"),
    shell:
        "promet evaluation survive --cohort {input.cohort:q} --predictions {params.predictions:q}"
        " --measures {params.measures:q} --out {output.record:q}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"
