"""What positive and negative samples do in RL with verifiable rewards.

Read the modules in this order; each imports only from those before it:

    config        one frozen record that says everything about a run
    results       run folders: lock, atomic writes, continue, load
    problems      problem families, disjoint splits, variants, the papers' problem sets
    policy        tokenizer, model, token log-probabilities
    pretraining   base policies made from scratch
    verification  response -> verdict
    rollouts      the Rollouts record and the samplers
    rewards       verdicts -> rewards
    advantages    rewards -> advantages, one function per published definition
    objectives    advantages -> loss, one function per published loss
    methods       each method as one record that names its parts
    diagnostics   what a batch looks like, split by polarity
    evaluation    repeated sampling, unbiased pass@k
    critic        a small critic, for methods that ask for one
    training      the loop
    uncertainty   intervals over seeds and problems
    experiments   each experiment as data, and the call that gets its runs
    mechanism     one softmax, one step: the papers' gradient formulas, checked
    claims        each claim as data, and the rule that judges it
    figures       tables -> figures
    notebook      what only a notebook needs

Around it, what `make` calls (`python -m polarity_lib`): plan, execute, study,
site, publish, readme.
"""

__version__ = "0.1.0"
