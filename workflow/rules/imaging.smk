# One chain of jobs per patient. The output is a record, images lie beside it: bad data end as a record, the others go on.


rule convert:
    input:
        registry=ancient(plan.images),
    output:
        record=plan.sidecar("convert"),
    log:
        f"{plan.logs}/imaging/convert/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("convert"),
    params:
        pin=lambda wc: plan.pin("convert", patient=wc.patient),
        settings=lambda wc: plan.settings("convert"),
        planned=lambda wc: of_sources(plan, "convert", wc.patient),
        tracer=lambda wc: plan.rows[wc.patient]["tracer"],
    shell:
        "PROMET_PLANNED={params.planned:q} promet imaging convert --patient {wildcards.patient} --registry {input.registry:q} --out {output.record:q}"
        " --tracer {params.tracer:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


# Only for patients without a mask of the prostate or of lesions, and only if imaging.segment.sources names a program for it.
rule organs:
    input:
        registry=ancient(plan.images),
    output:
        record=plan.sidecar("organs"),
    log:
        f"{plan.logs}/imaging/organs/{{patient}}.log",
    conda:
        "../../envs/totalsegmentator.yaml"
    resources:
        **asked("organs"),
        # Not parameters: where the program computes makes nothing stale.
        weights=plan.config["imaging"]["totalsegmentator"]["weights"],
        device=plan.config["imaging"]["totalsegmentator"]["device"],
    params:
        pin=lambda wc: plan.pin("organs", patient=wc.patient),
        settings=lambda wc: plan.settings("organs"),
        planned=lambda wc: of_sources(plan, "organs", wc.patient),
        sources=lambda wc: plan.organ_sources(wc.patient),
    shell:
        "PROMET_PLANNED={params.planned:q} promet imaging organs --patient {wildcards.patient} --registry {input.registry:q} --out {output.record:q}"
        " --weights={resources.weights:q} --device {resources.device} {params.sources}"
        " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule segment:
    input:
        plan.sidecar("convert"),
        lambda wc: plan.organ_records([wc.patient]),
        registry=ancient(plan.images),
    output:
        record=plan.sidecar("segment"),
    log:
        f"{plan.logs}/imaging/segment/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("segment"),
    params:
        pin=lambda wc: plan.pin("segment", patient=wc.patient),
        settings=lambda wc: plan.settings("segment"),
        organs=lambda wc: "--organs" if plan.organ_records([wc.patient]) else "",
        planned=lambda wc: of_sources(plan, "segment", wc.patient),
    shell:
        "PROMET_PLANNED={params.planned:q} promet imaging segment --patient {wildcards.patient} --registry {input.registry:q} --out {output.record:q}"
        " {params.organs} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule crop:
    input:
        plan.sidecar("segment"),
    output:
        record=plan.sidecar("crop"),
    log:
        f"{plan.logs}/imaging/crop/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("crop"),
    params:
        pin=lambda wc: plan.pin("crop", patient=wc.patient),
        settings=lambda wc: plan.settings("crop"),
    shell:
        "promet imaging crop --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule normalise:
    input:
        plan.sidecar("crop"),
    output:
        record=plan.sidecar("normalise"),
    log:
        f"{plan.logs}/imaging/normalise/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("normalise"),
    params:
        pin=lambda wc: plan.pin("normalise", patient=wc.patient),
        settings=lambda wc: plan.settings("normalise"),
    shell:
        "promet imaging normalise --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule measure:
    input:
        plan.sidecar("segment"),
    output:
        record=plan.sidecar("measure"),
    log:
        f"{plan.logs}/imaging/measure/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("measure"),
    params:
        pin=lambda wc: plan.pin("measure", patient=wc.patient),
        settings=lambda wc: plan.settings("measure"),
    shell:
        "promet imaging measure --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule picture:
    input:
        plan.sidecar("segment"),
    output:
        record=plan.sidecar("picture"),
    log:
        f"{plan.logs}/imaging/picture/{{patient}}.log",
    conda:
        "../../envs/imaging.yaml"
    resources:
        **asked("picture"),
    params:
        pin=lambda wc: plan.pin("picture", patient=wc.patient),
        settings=lambda wc: plan.settings("picture"),
        crop=lambda wc: plan.settings("crop"),
    shell:
        "promet imaging picture --out {output.record:q} --pin {params.pin} --settings {params.settings:q} --crop {params.crop:q} >> {log:q} 2>&1"
