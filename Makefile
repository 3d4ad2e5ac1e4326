# One line of intent for each target: `make help`. Every path is relative, so a clone works wherever it lies.
PYTHON  ?= python3
PROFILE ?= mini
PORT    ?= 8000
VENV    := .venv/bin/python
SETUP   := .venv/.complete

# What a reader gives is a value: neither make nor the shell reads it as text of theirs. Recipes name it "$$LIKE_THIS".
# PYTHON and LAUNCH are commands, and so are read.
VALUES := PROFILE WITH ONLY PARAMS PORT URL RAVDESS_DIR CORPORA_DIR SERLIB_MODELS SERLIB_CACHE SERLIB_HOME HF_HOME
VALUES := $(foreach name,$(VALUES),$(if $(filter undefined,$(origin $(name))),,$(name)))
$(foreach name,$(VALUES),$(eval override $(name) := $$(value $(name))))
export $(VALUES)

# Profiles become folders of build/.
LETTERS := a b c d e f g h i j k l m n o p q r s t u v w x y z
LETTERS += A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 - _
without = $(if $2,$(call without,$(subst $(firstword $2),,$1),$(wordlist 2,99,$2)),$1)
plain = $(if $(call without,$($1),$(LETTERS)),$(error $1=$($1) is no profile: its name has letters, digits, - and _ only))
$(call plain,PROFILE)$(call plain,WITH)$(if $(PROFILE),,$(error PROFILE is empty; leave it out for mini))

NOTEBOOKS := $(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb))
NAMES     := $(NOTEBOOKS:notebooks/%.ipynb=%)
DONE      := build/executed/$(PROFILE)
INPUTS    := build/inputs/$(PROFILE)
EVERY     := $(NAMES:%=$(DONE)/%.ipynb)
WANTED    := $(if $(ONLY),$(foreach n,$(ONLY),$(filter $(DONE)/$(n)%,$(EVERY))),$(EVERY))
# These train; those judge what was trained.
TRAINING  := $(filter $(foreach n,03 04 05 06 07 08,$(DONE)/$(n)_%),$(EVERY))
JUDGING   := $(filter $(foreach n,09 18 10 11 12 14,$(DONE)/$(n)_%),$(EVERY))

UNKNOWN := $(strip $(foreach n,$(ONLY),$(if $(filter $(DONE)/$(n)%,$(EVERY)),,$(n))))
ifneq ($(UNKNOWN),)
$(error ONLY=$(UNKNOWN) names no notebook; there are $(NAMES))
endif

.PHONY: help setup execute results leaderboard book test test-quick test-book student instructor slides pdf lint tidy bench bench-real serve address clean FORCE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo 'execute and book take PROFILE=laptop (default mini); execute also ONLY=05, -j2, PARAMS="-p EPOCHS 2" for'
	@echo 'papermill and LAUNCH="srun --gres=gpu:1" before each notebook. setup takes PYTHON=python3.12, serve PORT=8000.'
	@echo 'book WITH=paper shows what was executed with that profile in the place of the other.'

# --- The environment. Each mark is written last, so what a kill left half made is made again from the start.
setup: $(SETUP) ## make .venv from requirements.lock, with serlib editable (the other targets call it)

# A PYTHON given on the command line that is not the version of .venv replaces it.
ifeq ($(origin PYTHON),command line)
version = $(shell $(1) -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)
ifneq ($(call version,$(PYTHON)),$(call version,$(VENV)))
.venv/.installed: FORCE
endif
endif

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "This project needs Python 3.11 or newer; name one: make setup PYTHON=python3.12")'
	@echo "Installing requirements.lock into .venv: a few minutes, about 7 GB on Linux"
	@$(PYTHON) -m venv --clear .venv
	@$(VENV) -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@# librosa compiles and keeps some functions when it is first used; two notebooks doing so at once spoil them for
	@# good, and kernels die (numba issue 10128). So they are made here, by one process that imports all of it.
	@$(VENV) -c "import importlib, pkgutil, librosa; [importlib.import_module(module.name) for module in pkgutil.walk_packages(librosa.__path__, 'librosa.')]"
	@touch $@

# The mark holds the folder, because an editable install in a clone that was moved or copied points to the old one.
ifneq ($(shell test "$$(cat $(SETUP) 2>/dev/null)" = "$$(pwd -P)" && echo here),here)
$(SETUP): FORCE
endif

$(SETUP): .venv/.installed pyproject.toml
	@$(VENV) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@pwd -P > $@

# --- The notebooks. An inputs file holds what a notebook's outcome depends on, and changes only when that changes.
keep = { mkdir -p $(@D) && cat > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi; }

build/inputs/serlib: FORCE
	@find serlib -type f ! -path '*/__pycache__/*' ! -name '.*' -exec cksum {} + | LC_ALL=C sort -k3 | { cat; cksum requirements.lock; } | $(keep)

# make -j2 runs two at a time on this machine's cores; what LAUNCH starts has cores of its own.
JOBS = $(if $(LAUNCH),,$(patsubst -j%,--jobs %,$(filter-out -j,$(filter -j%,$(MFLAGS)))))

# The embedded corpus needs no data of the user's; the other profiles see a new folder as a new input.
DATA := $(if $(filter mini,$(PROFILE)),,"$$RAVDESS_DIR" "$$SERLIB_MODELS")
# From 02 on, notebooks go on from committed runs where there are no others, and show in every profile what the laptop's
# say (the scoreboard has rows of all notebooks before it), and some what mini's do.
SHOWING   := $(filter $(foreach n,02 03 04 05 06 07 08 09 18 10 11 12 14 15 16 17,$(DONE)/$(n)_%),$(EVERY))
RESULTS = $(if $(filter $(@F:%=$(DONE)/%.ipynb),$(SHOWING)),$(wildcard $(sort results/$(PROFILE) results/laptop results/mini)))

$(NAMES:%=$(INPUTS)/%): $(INPUTS)/%: notebooks/%.ipynb FORCE
	@{ cksum $<; printf '%s\n' "$$PARAMS" $(DATA); $(if $(RESULTS),find $(RESULTS) -type f -exec cksum {} + | LC_ALL=C sort -k3;) } | $(keep)

$(EVERY): $(DONE)/%.ipynb: $(INPUTS)/% build/inputs/serlib | $(SETUP)
	@$(LAUNCH) $(VENV) scripts/execute.py notebooks/$*.ipynb $@ $(JOBS) -p PROFILE $(PROFILE) --params="$$PARAMS"

ifndef ONLY
$(JUDGING): $(TRAINING)
endif

execute: $(WANTED) | $(SETUP) ## run the notebooks that changed, or whose inputs did, into build/executed/<profile>
	@$(VENV) scripts/timings.py $(DONE)

results: $(SETUP) ## copy the finished runs of PROFILE, without their checkpoints, to results/ for committing
	@$(VENV) scripts/results.py $(PROFILE)

leaderboard: $(SETUP) ## train the laptop's leaderboard on real RAVDESS (resumes), copy its runs to results/, print it
	@$(VENV) scripts/leaderboard
	@$(VENV) scripts/leaderboard --table

# --- The book
PAGES := $(shell find book _static -type f ! -name '.*' 2>/dev/null) _config.yml _toc.yml

book: build/.book ## render the executed notebooks and book/ into build/site, warnings as errors

# WITH=paper shows what was executed with that profile, such as 09 and 10 on committed results, in the place of PROFILE's.
WITH_DONE := $(if $(WITH),build/executed/$(WITH))

build/inputs/book: FORCE
	@echo "$(PROFILE) $(WITH) $(PAGES)" | $(keep)

build/.book: $(EVERY) $(PAGES) $(wildcard $(WITH_DONE:%=%/[0-9][0-9]_*.ipynb)) build/inputs/book \
  scripts/build_book.py scripts/live.py scripts/offline.py scripts/reference.py scripts/slides.py | $(SETUP)
	@$(VENV) scripts/build_book.py $(DONE) $(WITH_DONE)
	@touch $@

pdf: build/.book ## print the whole book, once built, into build/book.pdf (needs Chromium or Chrome)
	@$(VENV) scripts/pdf.py build/site build/book.pdf

serve: ## show the built book on this machine (builds it where there is none)
	@test -d build/site || $(MAKE) book
	@echo "http://localhost:$$PORT - stop with Ctrl-C"
	@$(VENV) -m http.server "$$PORT" --bind 127.0.0.1 --directory build/site >/dev/null 2>&1

# --- The code
# A process a core, each with one thread and whole files, for tests of a file share what is slow to make; slow files come
# first (tests/conftest.py), and xdist is not to bring them into an order of its own.
SIDE_BY_SIDE := -n auto --dist loadfile --no-loadscope-reorder

test: $(SETUP) ## run all tests
	@$(VENV) -m pytest $(SIDE_BY_SIDE)

test-quick: $(SETUP) ## run the tests that need no second each: two minutes, for while one works
	@$(VENV) -m pytest $(SIDE_BY_SIDE) -m "not slow"

test-book: build/.book ## look at every page of the built book in headless Chromium, print weights and load times
	@$(VENV) -m pytest tests/book/test_book_site.py tests/book/test_speak.py tests/scripts/test_pdf.py

lint: $(SETUP) ## check the code's style and types, and that the notebooks are valid and without outputs
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check --quiet .
	@$(VENV) -m mypy --no-error-summary
	@$(VENV) scripts/notebooks.py

student: $(SETUP) ## write the notebooks without their solutions into build/student, to hand out
	@$(VENV) scripts/editions.py student build/student

instructor: $(SETUP) ## write the notebooks with their solutions filled in into build/instructor
	@$(VENV) scripts/editions.py instructor build/instructor

slides: $(WANTED) | $(SETUP) ## write slides for each notebook, chapter and planned session into build/slides (ONLY=09 for one)
	@$(VENV) scripts/slides.py build/slides $(WANTED)

tidy: $(SETUP) ## take outputs and editors' marks out of the notebooks, in place
	@$(VENV) scripts/notebooks.py --fix

bench: $(SETUP) ## measure the slow steps on this machine, then fine-tuning against the usual recipe (RAVDESS_DIR)
	@$(VENV) scripts/bench.py
	@$(VENV) scripts/bench_speed.py

bench-real: $(SETUP) ## the real architectures at real size on real clips, against what the planner predicts (RAVDESS_DIR)
	@$(VENV) scripts/bench_real.py

address: ## set the repository's address everywhere: make address URL=https://github.com/OWNER/REPO
	@$(PYTHON) scripts/address.py "$$URL"

clean: ## remove what make made: .venv, build and the editable install's folder (runs/ stays: training is dear)
	rm -rf .venv build serlib.egg-info
