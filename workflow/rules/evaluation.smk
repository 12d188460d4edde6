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
        **asked("evaluate"),
    params:
        pin=lambda wc: plan.pin("evaluate", split=wc.split),
        settings=lambda wc: plan.settings("evaluate"),
        predictions=plan.beside("fuse", "predictions.parquet"),
        measures=plan.beside("gather", "patients.parquet"),
        planned=lambda wc: of_table(plan, "evaluate", wc.split),
    shell:
        "PROMET_PLANNED={params.planned:q} promet evaluation evaluate --cohort {input.cohort:q} --predictions {params.predictions:q}"
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
        **asked("survive"),
    params:
        pin=lambda wc: plan.pin("survive", split=wc.split),
        settings=lambda wc: plan.settings("survive"),
        predictions=plan.beside("fuse", "predictions.parquet"),
        planned=lambda wc: of_table(plan, "survive", wc.split),
    shell:
        "PROMET_PLANNED={params.planned:q} promet evaluation survive --cohort {input.cohort:q} --predictions {params.predictions:q}"
        " --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


# All splits together; of a single split it only says that there is one.
rule pool:
    input:
        expand(plan.sidecar("evaluate"), split=plan.splits),
    output:
        record=plan.sidecar("pool"),
    log:
        f"{plan.logs}/evaluation/pool.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("pool"),
    params:
        pin=lambda wc: plan.pin("pool"),
        metrics=lambda wc, input: [
            f"--metrics={Path(path).with_name('metrics.json')}" for path in input
        ],
    shell:
        "promet evaluation pool {params.metrics:q} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"


# Reads patients.parquet and, for uptake time and voxel size, the records of convert: gather stands for both.
rule table1:
    input:
        gather=plan.sidecar("gather"),
        cohort=ancient(plan.cohort),
        ledger=ancient(plan.ledger),
    output:
        record=plan.sidecar("table1"),
    log:
        f"{plan.logs}/evaluation/table1.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("table1"),
    params:
        pin=lambda wc: plan.pin("table1"),
        settings=lambda wc: plan.settings("table1"),
        measures=plan.beside("gather", "patients.parquet"),
        patients=lambda wc: plan.patients_dir,
        planned=lambda wc: of_table(plan, "table1"),
    shell:
        "PROMET_PLANNED={params.planned:q} promet evaluation table1 --cohort {input.cohort:q} --measures {params.measures:q}"
        " --patients {params.patients:q} --ledger {input.ledger:q} --out {output.record:q}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule tripod:
    input:
        plan.sidecar("gather"),
        expand(
            [
                plan.sidecar("dataset"),
                plan.sidecar("select"),
                plan.sidecar("fuse"),
                plan.sidecar("explain"),
                plan.sidecar("permute"),
                plan.sidecar("evaluate"),
                plan.sidecar("survive"),
            ],
            split=plan.splits,
        ),
        plan.sidecar("pool"),
        plan.sidecar("table1"),
    output:
        record=plan.sidecar("tripod"),
    log:
        f"{plan.logs}/evaluation/tripod.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("tripod"),
    params:
        pin=lambda wc: plan.pin("tripod"),
        settings=lambda wc: plan.settings("tripod"),
        study=lambda wc: plan.study_dir,
    shell:
        "promet evaluation tripod --study {params.study:q} --config {params.settings:q}"
        " --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"
