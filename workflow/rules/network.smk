# Training depends on one small digest (fit.json), so that a new or prospective patient never retrains a network.


# A waiver (promet waive) keeps a frozen model as it is: then there is no rule that could train it again.
if not plan.sealed:

    rule dataset:
        input:
            lambda wc: plan.images_of("dataset", wc.split),
            cohort=ancient(plan.cohort),
            ledger=ancient(plan.ledger),
        output:
            record=plan.sidecar("dataset"),
            fit=plan.beside("dataset", "fit.json"),
        log:
            f"{plan.logs}/network/dataset/{{split}}.log",
        conda:
            "../../envs/network.yaml"
        resources:
            **asked("dataset"),
        params:
            pin=lambda wc: plan.pin("dataset", split=wc.split),
            settings=lambda wc: plan.settings("dataset"),
            patients=lambda wc: plan.patients_dir,
            buckets=lambda wc: plan.shared,
            locked=lambda wc: plan.locked_fit(wc.split),
            planned=lambda wc: of_table(plan, "dataset", wc.split),
        shell:
            "PROMET_PLANNED={params.planned:q} promet network dataset --patients {params.patients:q} {params.buckets:q} --ledger {input.ledger:q} --cohort {input.cohort:q}"
            " --split {wildcards.split} {params.locked:q} --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"

    rule select:
        input:
            lambda wc: plan.trained(wc.split),
        output:
            record=plan.sidecar("select"),
            model=plan.beside("select", "model.json"),
        log:
            f"{plan.logs}/network/select/{{split}}.log",
        conda:
            "../../envs/network.yaml"
        resources:
            **asked("select"),
        params:
            pin=lambda wc: plan.pin("select", split=wc.split),
            settings=lambda wc: plan.settings("select"),
            candidates=lambda wc, input: [f"--candidate={path}" for path in input],
        shell:
            "promet network select {params.candidates:q} --out {output.record:q}"
            " --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"

    # Where network.hindsight asks for it, after select: no score of the test part exists before the choice.
    rule hindsight:
        input:
            trained=lambda wc: plan.trained(wc.split),
            select=plan.sidecar("select"),
            tensors=plan.beside("gather", "tensors.json"),
        output:
            record=plan.sidecar("hindsight"),
        log:
            f"{plan.logs}/network/hindsight/{{split}}.log",
        conda:
            "../../envs/network.yaml"
        resources:
            **asked("hindsight"),
        params:
            pin=lambda wc: plan.pin("hindsight", split=wc.split),
            settings=lambda wc: plan.settings("hindsight"),
            given=lambda wc, input: [f"--candidate={path}" for path in input.trained],
            patients=lambda wc: plan.patients_dir,
        shell:
            "promet network hindsight {params.given:q} --select {input.select:q} --gathered $(dirname {input.tensors:q})"
            " --patients {params.patients:q} --settings {params.settings:q} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"


# Nor for a model that is locked: what it was chosen from is there, or the run is refused (E_MODEL_LOCKED).
if not (plan.sealed or plan.model_locked):

    # exec: the trainer itself receives the scheduler's signals, saves its state and ends.
    rule train:
        input:
            fit=plan.beside("dataset", "fit.json"),
        output:
            record=plan.sidecar("train"),
        log:
            f"{plan.logs}/network/train/{{variant}}/split-{{split}}/seed-{{seed}}.log",
        conda:
            "../../envs/network.yaml"
        threads: 1
        resources:
            **asked("train"),
            gpu=1,
        params:
            pin=lambda wc: plan.pin("train", **dict(wc.items())),
            settings=lambda wc: plan.settings("train", variant=wc.variant),
            patients=lambda wc: plan.patients_dir,
        shell:
            "exec promet network train --fit {input.fit:q} --patients {params.patients:q} --seed {wildcards.seed}"
            " --out {output.record:q} --pin {params.pin} --settings {params.settings:q} >> {log:q} 2>&1"


rule score:
    input:
        model=plan.beside("select", "model.json"),
        tensors=plan.beside("gather", "tensors.json"),
    output:
        record=plan.sidecar("score"),
    log:
        f"{plan.logs}/network/score/{{split}}.log",
    conda:
        "../../envs/network.yaml"
    resources:
        **asked("score"),
    params:
        pin=lambda wc: plan.pin("score", split=wc.split),
        patients=lambda wc: plan.patients_dir,
        gathered=lambda wc, input: os.path.dirname(input.tensors),
    shell:
        "promet network score --model {input.model:q} --gathered {params.gathered:q}"
        " --patients {params.patients:q} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"


# Only where network.attention asks for patients; one job for all of a split's.
rule attention:
    input:
        model=plan.beside("select", "model.json"),
        tensors=plan.beside("gather", "tensors.json"),
    output:
        record=plan.sidecar("attention"),
    log:
        f"{plan.logs}/network/attention/{{split}}.log",
    conda:
        "../../envs/network.yaml"
    resources:
        **asked("attention"),
    params:
        pin=lambda wc: plan.pin("attention", split=wc.split),
        spacing=lambda wc: plan.config["imaging"]["crop"]["spacing_mm"],
        wanted=lambda wc: [f"--patient={name}" for name in plan.attended(wc.split)],
        patients=lambda wc: plan.patients_dir,
        gathered=lambda wc, input: os.path.dirname(input.tensors),
    shell:
        "promet network attention --model {input.model:q} --gathered {params.gathered:q} --patients {params.patients:q}"
        " {params.wanted:q} --spacing {params.spacing} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"
