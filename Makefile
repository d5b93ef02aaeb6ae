# Everything is installed into .venv, once; `make clean` removes it again.

PYTHON ?= python3
MODEL = reference

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -c constraints.txt
TAKES := a download of several GB, 6 GB on disk, nearly all of it torch; 3 to 10 minutes
# pip says nothing while it unpacks, which is most of that time.
ANNOUNCE = @echo "Installing $(1) into .venv, once: $(TAKES)."; \
    echo "After 'Installing collected packages' pip is silent for some minutes: it is still at work."
OVERLAY := .venv/overlay-transformers5

# mkdocs-material tells about its successor at every build. Not --quiet: then no warning counts.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.DEFAULT_GOAL := help
.PHONY: help audit test test-transformers5 regression docs reference reference-chat serve shortcut validity power \
    screenshots clean

help:
	@echo "First:"
	@echo "  make audit       audit the shipped cases with the embedded reference model, draw the gallery:"
	@echo "                   half a minute (MODEL=... audits another one: a checkpoint folder or an id)"
	@echo "  make serve       the page to ask about pictures and to write cases: a few seconds,"
	@echo "                   then http://127.0.0.1:7860"
	@echo "  make regression  audit a model that is right for the wrong reason, see the gate fail it:"
	@echo "                   a minute"
	@echo "  make docs        the documentation as a site, in site/: a few seconds"
	@echo
	@echo "The first of them begins by installing into .venv: $(TAKES)."
	@echo "docs and test add about 0.9 GB."
	@echo
	@echo "To work on audit:"
	@echo "  make test        every check of the code: ruff, mypy, import layers, docs, pytest: tens of"
	@echo "                   minutes; .venv/bin/pytest -m 'not slow' is the quick part"
	@echo "  make test-transformers5  the tests of Hugging Face's models, with transformers 5"
	@echo "  make screenshots make the pictures of the docs again; needs Debian's chromium"
	@echo "  make reference   train the embedded reference model again: an hour or two"
	@echo "  make reference-chat  train the embedded chat model again: most of an hour"
	@echo "  make shortcut    train the model that goes by watermarks again: most of an hour"
	@echo "  make validity    measure every map against every control, write docs/validity.md: about an"
	@echo "                   hour"
	@echo "  make power       plant regressions, count what is caught, write docs/power.md: a quarter of"
	@echo "                   an hour"
	@echo "  make clean       remove what these commands made: .venv, site, caches, audit-runs"
	@echo
	@echo "All times are for two cores without other work."
	@echo "PYTHON=... chooses the interpreter for .venv (3.11 or later; now: $(PYTHON))"

# The embedded chat model has baselines of its own; any other is judged against the reference's.
OWN_BASELINES = $(if $(filter reference-chat,$(MODEL)),--audit-baselines baselines/reference-chat)

# pytest prints where the gallery lies.
audit: .venv/installed
	@echo "Auditing the shipped cases with $(MODEL); the embedded model takes half a minute on two cores."
	$(BIN)/pytest cases --audit-model "$(MODEL)" $(OWN_BASELINES)

# pytest is last, so that the output ends in its summary.
test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MKDOCS) build --strict
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# OFA needs transformers 4, so 5 lies in a folder of its own, before the others on the import path.
test-transformers5: .venv/installed-test $(OVERLAY)/installed
	PYTHONPATH=$(CURDIR)/$(OVERLAY) AUDIT_TRANSFORMERS=5 $(BIN)/pytest tests/models/hf

# The gate must fail the second audit; explain shows why, and docs/regression.md says what to see.
regression: .venv/installed
	$(BIN)/pytest cases/watermarked.yaml --audit-model reference
	@if $(BIN)/pytest cases/watermarked.yaml --audit-model shortcut \
	    --audit-baselines baselines/reference --tb=no; \
	then echo "the gate passed a model that goes by watermarks" >&2; exit 1; fi
	@$(BIN)/audit explain $(MARKED) "there are two birds on a branch" --model shortcut \
	    --map answer_attention --map relevance --map occlusion --out audit-explain/shortcut \
	    | grep -E '^(heatmap|page):'
	@echo
	@echo "All labels were right, and the gate failed it: its attention lies on the watermark."

docs: .venv/installed-test
	$(MKDOCS) build --strict
	@echo "The site: $(CURDIR)/site/index.html"
	@echo "Its search needs a server: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

serve: .venv/installed
	@echo "Starting the page; its address comes in a few seconds."
	$(BIN)/audit serve

MARKED = cases/images/two-birds-on-a-branch-disc.jpg

reference: .venv/installed
	$(BIN)/python -m audit.reference train

shortcut: .venv/installed
	$(BIN)/python -m audit.reference train --model shortcut

reference-chat: .venv/installed
	$(BIN)/python -m audit.reference train --model reference-chat

screenshots: .venv/installed-test
	$(BIN)/python -m tools.docs_picture
	$(BIN)/python -m tools.guide_pictures
	$(BIN)/python -m tools.regression_picture
	$(BIN)/python -m tools.serve_picture

power: .venv/installed-test
	$(BIN)/audit power --processes 2

validity: .venv/installed
	$(BIN)/audit validity --processes $$(nproc)

clean:
	rm -rf .venv site audit-runs audit-explain audit-power build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Making .venv: a few seconds"
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(call ANNOUNCE,what audits and the page need)
	$(INSTALL) -e '.[ofa,hf,app]'
	touch $@

.venv/installed-test: .venv/created pyproject.toml constraints.txt
	$(call ANNOUNCE,what audits and tests need)
	$(INSTALL) -e '.[all,test]'
	touch .venv/installed $@

$(OVERLAY)/installed: .venv/created constraints-transformers5.txt
	rm -rf $(OVERLAY)
	@echo "Installing transformers 5 beside it: 150 MB, a minute"
	$(BIN)/python -m pip install --no-deps --target $(OVERLAY) -r constraints-transformers5.txt
	touch $@
