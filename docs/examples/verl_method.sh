# Train a model with one of our methods in verl (GPUs, vLLM): METHOD=nsr MODEL=... TRAIN=train.parquet TEST=test.parquet
export VERL_USE_EXTERNAL_MODULES=polarity_lib.integrations.verl
export POLARITY_VERL='{"options": {}, "right_above": 0.5}'
python -m verl.trainer.main_ppo \
    algorithm.adv_estimator="polarity.$METHOD" \
    actor_rollout_ref.actor.policy_loss.loss_mode="polarity.$METHOD" \
    actor_rollout_ref.actor.loss_scale_factor=4096 \
    actor_rollout_ref.model.path="$MODEL" \
    data.train_files="$TRAIN" data.val_files="$TEST" \
    data.train_batch_size=256 data.max_prompt_length=1024 data.max_response_length=4096 \
    actor_rollout_ref.actor.ppo_mini_batch_size=64 \
    actor_rollout_ref.actor.use_kl_loss=False actor_rollout_ref.actor.entropy_coeff=0 \
    actor_rollout_ref.rollout.name=vllm actor_rollout_ref.rollout.n=8 \
    reward.custom_reward_function.path="$(python -c 'import polarity_lib.integrations.rewards as r; print(r.__file__)')" \
    reward.custom_reward_function.name=compute_score
