PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEMO := build/demo

NATIVE := setup.py $(wildcard src/token2wave/native/*.[ch])
RIVALS := .venv/rivals-installed
THREADS ?= 2

.PHONY: setup demo test test-base test-transformers lint check docs fuzz bench bench-quick clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	rm -f src/token2wave/native/_core*.so
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

# What is shipped: wheels with and without a compiler, each in a fresh environment without torch.
test-base: setup
	$(BIN)/python tools/test_base_install.py

# The Hugging Face integration with the current and the previous major version of transformers.
test-transformers: setup
	$(BIN)/python tools/test_transformers_majors.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

# The documentation site, into build/site; `python -m http.server -d build/site` shows it, without any other host.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Damaged model files and hostile texts, under gcc's sanitizers: a copy of the package with a core of its own.
SECONDS ?= 600
SEED ?= 0
FUZZ := build/fuzz
SANITIZED := -std=c11 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi

fuzz: setup
	rm -rf $(FUZZ)/token2wave
	mkdir -p $(FUZZ)
	cp -r src/token2wave $(FUZZ)/
	rm -f $(FUZZ)/token2wave/native/_core*.so
	gcc -shared -fPIC $(SANITIZED) -I$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('include'))") \
		-o $(FUZZ)/token2wave/native/_core.abi3.so $(FUZZ)/token2wave/native/*.c -lm -lpthread -ldl
	PYTHONPATH=$(FUZZ) LD_PRELOAD=$$(gcc -print-file-name=libasan.so) PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
		$(BIN)/python tools/fuzz.py --seconds $(SECONDS) --seed $(SEED) --corpus tests/runtime/fuzz_corpus

# What a user would otherwise use; fastText is compiled, which takes a minute or two.
$(RIVALS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

# All figures of docs/benchmarks.md. Needs TOKEN2WAVE_DATA, an idle machine, and about two hours; RESUME=--resume goes on after an interruption.
bench: $(RIVALS)
	$(BIN)/python benchmarks/compare.py --name classifiers \
		--data ag_news,imdb,dbpedia14,sst2,trec,banking77,emotion \
		--systems fast,small,fasttext_lr025,fasttext_lr05,tfidf_svc,tfidf_logistic --runs 3 --threads $(THREADS) $(RESUME)
	$(BIN)/python benchmarks/compare.py --name slow --data ag_news --systems paper,fasttext_autotune \
		--runs 3 --threads $(THREADS) $(RESUME)
	$(BIN)/python benchmarks/probabilities.py
	$(BIN)/python benchmarks/paper_step.py --threads $(THREADS)
	$(BIN)/python benchmarks/growth.py --threads $(THREADS)
	$(BIN)/python benchmarks/html_page.py --data ag_news
	$(BIN)/python benchmarks/prediction.py --data ag_news,imdb --runs 5 --threads 1 $(RESUME)
	$(BIN)/python benchmarks/agreement.py --data ag_news,imdb --presets fast,small,paper --threads $(THREADS)
	$(BIN)/python benchmarks/agreement.py --name four_ways --data ag_news --models build/agreement \
		--storages "" --all --threads $(THREADS)
	$(BIN)/python benchmarks/serving.py --threads $(THREADS)
	$(BIN)/python benchmarks/scoring.py --threads $(THREADS)
	$(BIN)/python tools/render_results.py

# The same commands in miniature, on texts that are built in; nothing of it goes into the documents.
bench-quick: $(RIVALS)
	mkdir -p build/bench
	$(BIN)/python benchmarks/compare.py --name quick --data debian-sections --results build/bench \
		--systems fast,small,fasttext_lr05,tfidf_svc --runs 1 --threads $(THREADS)
	$(BIN)/python benchmarks/paper_step.py --data debian-sections --steps 10 --width 64 --rows 1000 --runs 1 \
		--threads $(THREADS) --results build/bench
	$(BIN)/python benchmarks/growth.py --quick --threads $(THREADS) --results build/bench
	$(BIN)/python benchmarks/prediction.py --data debian-sections --systems fast,fast_numpy,fast_1mb,fasttext,tfidf_svc \
		--runs 1 --seconds 0.2 --cold-starts 1 --threads 1 --build build/bench/prediction --results build/bench
	$(BIN)/python benchmarks/agreement.py --data debian-sections --presets fast --models build/bench/prediction \
		--threads 1 --build build/bench/agreement --results build/bench
	$(BIN)/python benchmarks/scoring.py --documents 400000 --kills 3 --small-kills 5 --rate-documents 20000 --turns 1 --quick \
		--threads $(THREADS) --build build/bench/scoring --results build/bench

clean:
	rm -rf build dist .venv src/token2wave/native/_core*.so
