# The locked model of a frozen study: everything a clinic needs to score a patient, and nothing about the patients it was
# fitted on. Of several splits the first is locked: it was fixed before any result was seen.

from promet.workflow.locked import made_from
from promet.core.pin import canonical


rule bundle:
    input:
        dataset=plan.sidecar("dataset", split="00"),
        select=plan.sidecar("select", split="00"),
        fuse=plan.sidecar("fuse", split="00"),
        evaluate=plan.sidecar("evaluate", split="00"),
        survive=plan.sidecar("survive", split="00"),
        freeze=ancient(plan.freeze),
        licence=plan.config["model"]["licence"] or [],
    output:
        record=plan.sidecar("bundle"),
    log:
        f"{plan.logs}/model/bundle.log",
    conda:
        "../../envs/model.yaml"
    resources:
        **asked("bundle"),
    params:
        pin=lambda wc: plan.pin("bundle"),
        settings=lambda wc: plan.settings("bundle"),
        made_from=lambda wc: canonical(made_from(plan)),
        gathered=plan.beside("gather", "patients.parquet"),
        patients=lambda wc: plan.patients_dir,
    shell:
        "promet model bundle --dataset {input.dataset:q} --select {input.select:q} --fuse {input.fuse:q}"
        " --evaluate {input.evaluate:q} --survive {input.survive:q} --gathered {params.gathered:q}"
        " --patients {params.patients:q} --freeze {input.freeze:q} --out {output.record:q}"
        " --pin {params.pin} --settings {params.settings:q}"
        " --made-from {params.made_from:q} >> {log:q} 2>&1"
