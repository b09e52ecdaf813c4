"""What positive and negative samples do in RL with verifiable rewards.

Four storeys; a module imports only from those below it (a test says so):

    study/     what turns experiments into a published study: plan, execution, publishing, pages, site
    papers/    a folder per paper: its methods, experiments, claims, figures, theorems
    judging    claims       what a comparison must show for which word
               plots        one small vocabulary of figures
               statistics   intervals over seeds
    core       from a problem to an update, in this order:

        outside       errors of one line, cores, strict JSON: where we meet people and other programs
        config        one frozen record that says everything about a run
        results       run folders: lock, atomic writes, continue, load
        problems/     problem families, disjoint splits, variants, the papers' problem sets
        verification/ response -> verdict
        policy        tokenizer, model, token log-probabilities
        groups, layout  rows for the policy: each prompt once, long groups without padding
        rollouts      the record of sampled answers
        provenance    where and when a run was made
        registry      papers found, asked for what they offer by name
        rewards       verdicts -> rewards
        advantages    rewards -> advantages, one function per published definition
        objectives    advantages -> loss, one function per published loss
        methods       the record that names a method's parts
        digests       which code a method's numbers came from
        engines/      what samples answers
        pretraining   base policies made from scratch
        loading       any causal language model by name or folder: served as it is, or refused
        models        a language model as the start of a run: adapter, template, memory
        diagnostics   what a batch looks like, split by polarity
        evaluation    repeated sampling, unbiased pass@k
        critic        a small critic, for methods that ask for one
        learner       what a training step asks of a model; another one for many runs at once
        offline       answers that are drawn once and trained on many times
        mechanism     what one update does to one distribution, exactly
        run           everything that changes while a run goes on
        updates       the optimizer steps on one batch
        training      the loop
        stacking      many runs of one shape as one batched model
        boards, exporting  metrics for TensorBoard; a trained policy in the hub's format
        integrations/ our methods by name in TRL and verl, the verifier as their reward function
        experiments   arms and seeds, and the call that gets their runs
        published     what a paper itself ran, as runs of ours
"""

__version__ = "0.1.0"
