PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEMO := build/demo

.PHONY: setup demo test lint check clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	mkdir -p $(DEMO)
	$(BIN)/token2wave train debian-sections --out $(DEMO)/model.safetensors --report $(DEMO) --baseline
	$(BIN)/token2wave evaluate $(DEMO)/model.safetensors debian-sections
	$(BIN)/token2wave predict $(DEMO)/model.safetensors --top-k 2 \
		"A fast paced arcade shooter with many levels, weapons and a final boss." \
		"Reads and writes WAV, FLAC and MP3 files and applies reverb to them." \
		"Design printed circuit boards: schematic capture, layout and simulation."
	@echo "report: $(DEMO)/report.html"

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --cov=token2wave.waves --cov=token2wave.models --cov-fail-under=95

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

clean:
	rm -rf build dist .venv
