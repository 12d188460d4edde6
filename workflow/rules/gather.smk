# In a large cohort one job serves all patients of a bucket: it makes exactly the records that are out of date, the same
# ones that the rules of imaging.smk make. Its log is written anew, so that it names nobody who has left.
rule bucket:
    input:
        lambda wc: plan.bucket_records(plan.before(wc.bucket)),
        lambda wc: plan.organ_records(plan.buckets[wc.bucket]),
        registry=ancient(plan.images),
        cohort=ancient(plan.cohort),
        ledger=ancient(plan.ledger),
    output:
        record=plan.sidecar("bucket"),
    log:
        f"{plan.logs}/imaging/bucket/{{bucket}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("bucket"),
        runtime=lambda wc, attempt: (10 + len(plan.buckets.get(wc.bucket, ())) // 2)
        * attempt,
    params:
        pin=lambda wc: plan.pin("bucket", bucket=wc.bucket),
        settings=lambda wc: plan.settings("bucket", bucket=wc.bucket),
        patients=lambda wc: plan.patients_dir,
        number=lambda wc: plan.bucket_number,
        splits=lambda wc: len(plan.splits),
        outcome=lambda wc: plan.told_outcome,
    shell:
        "promet imaging bucket --bucket {wildcards.bucket} --number {params.number} --splits {params.splits}"
        " --patients {params.patients:q} --cohort {input.cohort:q} --registry {input.registry:q}"
        " --ledger {input.ledger:q} --out {output.record:q} {params.outcome:q} --pin {params.pin} --settings {params.settings:q}"
        " > {log:q} 2>&1"


# The narrow place: from here on only digests and one table are read, never N records.
rule gather:
    input:
        plan.images_of("gather"),
        cohort=ancient(plan.cohort),
    output:
        record=plan.sidecar("gather"),
        tensors=plan.beside("gather", "tensors.json"),
        measures=plan.beside("gather", "measures.json"),
    log:
        f"{plan.logs}/imaging/gather.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("gather"),
    params:
        pin=lambda wc: plan.pin("gather"),
        patients=lambda wc: plan.patients_dir,
        buckets=lambda wc: plan.shared,
        freeze=lambda wc: plan.freeze,
        planned=lambda wc: of_table(plan, "gather"),
    shell:
        "PROMET_PLANNED={params.planned:q} promet imaging gather --patients {params.patients:q} {params.buckets:q} --cohort {input.cohort:q} --out {output.record:q}"
        " --freeze {params.freeze:q} --pin {params.pin} >> {log:q} 2>&1"
