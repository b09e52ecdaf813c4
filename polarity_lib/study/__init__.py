"""What turns experiments into a published study.

    plan        which runs and notebooks, in which order, at which cost; costs: what a run takes, from measured ones
    execution   one notebook through papermill, its parameters checked
    running     `make study`: everything by Snakemake
    publishing  finished runs -> data/results and figures; cleaning: deleting what runs left
    rules       whether a claim's rule is older than its runs
    pages       tables -> the README's findings, docs/claims.md, docs/speed.md
    site        executed notebooks -> HTML
    notebook    what only a notebook needs; ideas: the figures of notebooks that belong to no paper;
                verifier_errors: the tables of notebook 03
    tuning      a method's learning rate in a world, by a fixed rule
    compare     `make compare`: somebody's method beside others; checking: looked at part by part before anything runs
    own         a log of somebody's rollouts through every method
"""
