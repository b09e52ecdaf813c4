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
    shaping       token weights that multiply an advantage: A3PO and its controls
    lens          advantages from the confidence in wrong answers: LENS and its neighbours
    objectives    advantages -> loss, one function per published loss
    methods       each method as one record that names its parts
    diagnostics   what a batch looks like, split by polarity
    evaluation    repeated sampling, unbiased pass@k
    critic        a small critic, for methods that ask for one
    probes        further measurements of a finished run
    training      the loop
    uncertainty   intervals over seeds and problems
    arms          each experiment as data
    experiments   experiments by name, and the call that gets their runs
    mechanism     one softmax, one step: the papers' gradient formulas, checked
    lens_theory   LENS's theorems on a policy that can be enumerated, checked
    rules         what a comparison must show for which verdict
    claims        each claim as data (claims_*: a module per paper), and the call that judges one
    figures       tables -> figures
    notebook      what only a notebook needs

Around it, what `make` calls (`python -m polarity_lib`): plan, execute, study,
site, publish, readme.
"""

__version__ = "0.1.0"
