rule fuse:
    input:
        scores=plan.sidecar("score"),
        measures=plan.beside("gather", "measures.json"),
        cohort=ancient(plan.cohort),
        ledger=ancient(plan.ledger),
    output:
        record=plan.sidecar("fuse"),
    log:
        f"{plan.logs}/fusion/fuse/{{split}}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("fuse"),
    params:
        pin=lambda wc: plan.pin("fuse", split=wc.split),
        settings=lambda wc: plan.settings("fuse"),
        scores=plan.beside("score", "scores.parquet"),
        measures=plan.beside("gather", "patients.parquet"),
        locked=lambda wc: plan.locked(wc.split),
        planned=lambda wc: of_table(plan, "fuse", wc.split),
    shell:
        "PROMET_PLANNED={params.planned:q} promet fusion fuse --cohort {input.cohort:q} --ledger {input.ledger:q} --split {wildcards.split}"
        " --scores {params.scores:q} --measures {params.measures:q} --out {output.record:q} {params.locked:q}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule explain:
    input:
        plan.sidecar("fuse"),
    output:
        record=plan.sidecar("explain"),
    log:
        f"{plan.logs}/fusion/explain/{{split}}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("explain"),
    params:
        pin=lambda wc: plan.pin("explain", split=wc.split),
        fuse_dir=lambda wc, input: os.path.dirname(input[0]),
    shell:
        "promet fusion explain --fuse-dir {params.fuse_dir:q} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"


# Refits on permuted labels: what the fusion finds where there is nothing.
rule permute:
    input:
        plan.sidecar("fuse"),
    output:
        record=plan.sidecar("permute"),
    log:
        f"{plan.logs}/fusion/permute/{{split}}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("permute"),
    params:
        pin=lambda wc: plan.pin("permute", split=wc.split),
        settings=lambda wc: plan.settings("permute"),
        fuse_dir=lambda wc, input: os.path.dirname(input[0]),
    shell:
        "promet fusion permute --fuse-dir {params.fuse_dir:q} --out {output.record:q}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"
