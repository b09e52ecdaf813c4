"""Our methods under other people's trainers.

    trl       MethodTrainer: TRL's GRPOTrainer, taking any on-policy method by name
    verl      every method as an advantage estimator and a policy loss of verl
    rewards   the mathematics verifier as a reward function of either
    table     which method runs where, and why not elsewhere

Importing this package imports neither TRL nor verl.
"""
