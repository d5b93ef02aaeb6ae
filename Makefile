# Everything is installed into .venv, once; `make clean` removes it again.

PYTHON ?= python3
MODEL = reference

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -c constraints.txt
OVERLAY := .venv/overlay-transformers5

.DEFAULT_GOAL := help
.PHONY: help audit test test-transformers5 regression reference serve shortcut validity power screenshots clean

help:
	@echo "make audit      audit the shipped cases with the embedded reference model, draw the gallery"
	@echo "                (MODEL=... audits another one: a checkpoint folder or a ModelScope id)"
	@echo "make test       every check of the code: ruff, mypy, import layers, pytest"
	@echo "make test-transformers5  the tests of Hugging Face's models, with transformers 5"
	@echo "make regression audit a model that is right for the wrong reason: see the gate fail it"
	@echo "make serve      the page to ask about pictures and to write cases, on http://127.0.0.1:7860"
	@echo "make reference  train the embedded reference model again (long)"
	@echo "make shortcut   train the model that goes by watermarks again (long)"
	@echo "make validity   measure every map against every control, write docs/validity.md (long)"
	@echo "make power      plant regressions, count what is caught, write docs/power.md (long)"
	@echo "make screenshots  make the pictures of the docs again; needs Debian's chromium"
	@echo "make clean      remove what these commands made: .venv, caches, audit-runs"
	@echo
	@echo "PYTHON=... chooses the interpreter for .venv (3.11 or later; now: $(PYTHON))"

# pytest prints where the gallery lies.
audit: .venv/installed
	$(BIN)/pytest cases --audit-model "$(MODEL)"

# pytest is last, so that the output ends in its summary.
test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile

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

serve: .venv/installed-app
	$(BIN)/audit serve

MARKED = cases/images/two-birds-on-a-branch-disc.jpg

reference: .venv/installed
	$(BIN)/python -m audit.reference train

shortcut: .venv/installed
	$(BIN)/python -m audit.reference train --model shortcut

screenshots: .venv/installed-test
	$(BIN)/python -m tools.docs_picture
	$(BIN)/python -m tools.regression_picture
	$(BIN)/python -m tools.serve_picture

power: .venv/installed-test
	$(BIN)/audit power --processes 2

validity: .venv/installed
	$(BIN)/audit validity --processes $$(nproc)

clean:
	rm -rf .venv audit-runs audit-explain audit-power build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(INSTALL) -e '.[ofa,hf]'
	touch $@

.venv/installed-app: .venv/created pyproject.toml constraints.txt
	$(INSTALL) -e '.[all]'
	touch .venv/installed $@

.venv/installed-test: .venv/created pyproject.toml constraints.txt
	$(INSTALL) -e '.[all,test]'
	touch .venv/installed .venv/installed-app $@

$(OVERLAY)/installed: .venv/created constraints-transformers5.txt
	rm -rf $(OVERLAY)
	$(BIN)/python -m pip install --no-deps --target $(OVERLAY) -r constraints-transformers5.txt
	touch $@
