"""What turns experiments into a published study.

    plan        which runs and notebooks, in which order, at which cost
    execution   one notebook through papermill, its parameters checked
    running     `make study`: everything by Snakemake
    publishing  finished runs -> data/results and figures
    pages       tables -> the README's findings, docs/claims.md, docs/speed.md
    site        executed notebooks -> HTML
    notebook    what only a notebook needs; ideas: the figures of notebooks that belong to no paper;
                verifier_errors: the tables of notebook 03
"""
