rule report:
    input:
        plan.sidecar("gather"),
        plan.images_of("report"),
        expand(
            [
                plan.sidecar("dataset"),
                plan.sidecar("select"),
                plan.sidecar("score"),
                plan.sidecar("explain"),
                plan.sidecar("permute"),
                plan.sidecar("evaluate"),
                plan.sidecar("survive"),
            ],
            split=plan.splits,
        ),
        [
            plan.sidecar("hindsight", split=split)
            for split in plan.splits
            if plan.looks_back
        ],
        [
            plan.sidecar("attention", split=split)
            for split in plan.splits
            if plan.attended(split)
        ],
        plan.sidecar("pool"),
        plan.sidecar("table1"),
        plan.sidecar("tripod"),
        [plan.sidecar("bundle")] if plan.bundled else [],
        cohort=ancient(plan.cohort),
        ledger=ancient(plan.ledger),
    output:
        record=plan.sidecar("report"),
        html=report(
            plan.beside("report", "report.html"),
            caption="../report/report.rst",
            category="Report",
            labels={"what": "promet report"},
        ),
        figures=report(
            directory(plan.beside("report", "figures")),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
    log:
        f"{plan.logs}/report/report.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        **asked("report"),
    params:
        pin=lambda wc: plan.pin("report"),
        config=lambda wc: plan.report_config(),
        study=lambda wc, output: Path(output.record).parents[1],
        planned=lambda wc: of_table(plan, "report"),
    shell:
        "PROMET_PLANNED={params.planned:q} promet report report --study {params.study:q} --cohort {input.cohort:q} --ledger {input.ledger:q}"
        " --config {params.config:q} --out {output.record:q} --pin {params.pin} >> {log:q} 2>&1"
