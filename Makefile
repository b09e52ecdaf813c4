# The few commands of this project. `make` alone lists them.
#
# Needs Python 3.11 to 3.13, make and pip; everything else goes into .venv.
# Without a GPU, torch's CPU build saves several GB; it comes from torch's own index:
#
#     make study PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

SCALE ?= tiny
SEEDS ?=
ONLY ?=
FULL ?=
REUSE ?=
DEVICE ?=
MODEL ?=
WITH ?=
PROFILE ?=
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
VENV ?= .venv
EXTRAS ?= study,math,peers,test
PIP_ARGS ?=
PYTEST_ARGS ?=
YES ?=
METHOD ?=
AGAINST ?= grpo,psr
WORLDS ?= latent,search
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $(p))))

KNOWN := SCALE SEEDS ONLY FULL REUSE DEVICE MODEL WITH PROFILE CORES VENV EXTRAS PIP_ARGS PYTEST_ARGS YES METHOD AGAINST WORLDS PYTHON
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $(v))),$(v)))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS MFLAGS MAKEOVERRIDES SHELL -%,$(GIVEN))
# make itself would ignore a misspelt variable and compute something else.
ifneq ($(UNKNOWN),)
NEAR := $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], n=2), sep=" or ")' \
	$(firstword $(UNKNOWN)) $(KNOWN))
$(error Unknown variable $(UNKNOWN)$(if $(NEAR),. Did you mean $(NEAR)?). Known: $(KNOWN))
endif

BIN := $(VENV)/bin
POLARITY := OMP_NUM_THREADS=1 $(BIN)/python -m polarity_lib
on = $(filter-out 0 no false,$(1))
quoted = '$(subst ','\'',$(1))'
STUDY = --scale $(call quoted,$(SCALE)) --cores $(call quoted,$(CORES)) $(if $(SEEDS),--seeds $(call quoted,$(SEEDS))) \
	$(if $(ONLY),--only $(call quoted,$(ONLY))) $(if $(call on,$(FULL)),--full) $(if $(REUSE),--reuse $(call quoted,$(REUSE))) \
	$(if $(DEVICE),--device $(call quoted,$(DEVICE))) \
	$(if $(MODEL),--model $(call quoted,$(MODEL))) $(if $(WITH),--with $(call quoted,$(WITH))) $(if $(PROFILE),--profile $(call quoted,$(PROFILE)))

.DEFAULT_GOAL := help
COMPARE = $(call quoted,$(METHOD)) --against $(call quoted,$(AGAINST)) --worlds $(call quoted,$(WORLDS)) \
	--seeds $(call quoted,$(or $(SEEDS),8)) --scale $(call quoted,$(SCALE)) --cores $(call quoted,$(CORES))

.PHONY: help env study plan report compare publish lab test test-verl test-vllm data clean-runs

help:  ## list these targets
	@echo "make TARGET [VARIABLE=value ...]"
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -E '^[a-z-]+:.*## ' Makefile
	@echo
	@echo "  SCALE=tiny|smoke|small|paper  SEEDS=3  ONLY=10,11  FULL=1  REUSE=0|1  DEVICE=cpu|cuda  CORES=$(CORES)"
	@echo "  SCALE=paper ONLY=10 MODEL=<hub id or folder>  WITH=engine=vllm,steps=20: a language model on one GPU"
	@echo "  PROFILE=slurm|kubernetes|<folder>: jobs go to a cluster (profiles/ says what it needs)"
	@echo "  PIP_ARGS=\"--extra-index-url https://download.pytorch.org/whl/cpu\" installs torch without CUDA"

env: $(VENV)/.installed  ## make the environment in .venv (all other targets do so when needed)

# Installed again only when what is to be installed changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; name one with PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (minutes, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]" $(PIP_ARGS)
	@touch $@

study: env  ## run the study's notebooks and what they need: the preview; FULL=1 for all of it; ONLY=10 SEEDS=3
	@$(POLARITY) study $(STUDY)

plan: env  ## print runs and hours without running; SCALE=paper prints GPU hours, disk and licences
	@$(POLARITY) plan $(STUDY)

report: env  ## write Snakemake's page about a finished study: jobs, times, files
	@$(POLARITY) report $(STUDY)

compare: env  ## your method beside others: METHOD=mine.py AGAINST=grpo,psr WORLDS=latent,search SEEDS=8
	@test -n $(call quoted,$(METHOD)) || { echo "METHOD names your method: a file, file.py:name, or a registered name"; exit 2; }
	@$(POLARITY) compare $(COMPARE)

publish: env  ## turn the finished runs of the committed study into data/results and figures
	@$(POLARITY) publish

lab: env  ## open JupyterLab on the notebooks
	@JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --notebook-dir=. notebooks

# One test process per core, each with one thread; a free one takes tests from a busy one.
test: env  ## run the tests, every notebook at scale smoke included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(call quoted,$(CORES)) --dist worksteal $(PYTEST_ARGS)

# verl wants an older transformers than the rest, so it lives alone. The library itself is read from this folder.
VERL_VENV := $(VENV)-verl

test-verl: $(VERL_VENV)/.installed  ## run the tests of our methods in verl, in an environment of their own
	OMP_NUM_THREADS=1 PYTHONPATH=. $(VERL_VENV)/bin/python -m pytest -m verl tests/integrations/test_verl.py $(PYTEST_ARGS)

$(VERL_VENV)/.installed: constraints-verl.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; name one with PYTHON=/path/to/python3"; exit 1; }
	@test -x $(VERL_VENV)/bin/python || $(PYTHON) -m venv $(VERL_VENV)
	@echo "installing into $(VERL_VENV) (minutes, once)"
	$(VERL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-verl.txt $(PIP_ARGS)
	@touch $@

# vLLM's build for CPUs. It brings CUDA builds of libraries it does not need here and cannot be imported with: they go again.
VLLM_VENV := $(VENV)-vllm

test-vllm: $(VLLM_VENV)/.installed  ## run the tests of the vLLM engine on a CPU, in an environment of their own
	OMP_NUM_THREADS=1 PYTHONPATH=. $(VLLM_VENV)/bin/python -m pytest -m vllm tests/test_vllm.py tests/papers/psr_nsr/test_psr_nsr_vllm.py $(PYTEST_ARGS)

$(VLLM_VENV)/.installed: constraints-vllm.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; name one with PYTHON=/path/to/python3"; exit 1; }
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "installing into $(VLLM_VENV) (minutes, once)"
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-vllm.txt $(PIP_ARGS)
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

data: env  ## fetch the real problem sets from their homes into data/problems
	@$(BIN)/python -m polarity_lib.problems.sets fetch

clean-runs: env  ## delete data/runs, after asking
	@$(POLARITY) clean-runs $(if $(YES),--yes)
