PYTHON ?= python3
BIN := .venv/bin
BASE := .venv/base-installed
STAMP := .venv/installed
DEMO := build/demo

NATIVE := setup.py $(wildcard src/token2wave/core/*.[ch])
RIVALS := .venv/rivals-installed
AUDITED := .venv/audit-installed
RELEASER := .venv/release-installed
THREADS ?= 2
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: setup demo reproduce reproduce-quick test test-base test-transformers lint lint-c wheels release-check check licences audit sbom prior docs fuzz fuzz-quick bench bench-quick clean

setup: $(STAMP)

# What the demo uses: the base, and scikit-learn for the baseline.
$(BASE): pyproject.toml constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	rm -f src/token2wave/core/_core*.so
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sklearn]'
	touch $@

# The rest, for development; the package itself is there.
$(STAMP): $(BASE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'token2wave[dev]'
	touch $@

demo: $(BASE)
	mkdir -p $(DEMO)
	$(BIN)/token2wave train debian-sections --out $(DEMO)/model.safetensors --report $(DEMO) --baseline
	$(BIN)/token2wave evaluate $(DEMO)/model.safetensors debian-sections
	$(BIN)/token2wave predict $(DEMO)/model.safetensors --top-k 2 \
		"A fast paced arcade shooter with many levels, weapons and a final boss." \
		"Reads and writes WAV, FLAC and MP3 files and applies reverb to them." \
		"Design printed circuit boards: schematic capture, layout and simulation."
	@echo "report: $(DEMO)/report.html"

# Coverage is measured where it has a limit: it slows tests down by half. Bytecode is kept whatever the environment says,
# for the hundreds of processes that tests start. A worker begins with half of the tests in their order, so that what the
# tests of a module share is made once.
test: export OMP_NUM_THREADS := 1
test: export PYTHONDONTWRITEBYTECODE :=
test: setup
	$(PYTEST) tests/waves tests/models --cov=token2wave.waves --cov=token2wave.models --cov-fail-under=95
	$(PYTEST) --ignore=tests/waves --ignore=tests/models

# Both papers: all systems and studies, into build/reproduction. Needs TOKEN2WAVE_DATA and hours; resumes.
reproduce: setup
	$(BIN)/python -m paper reproduce --jobs $(JOBS) --out build/reproduction

# The same in miniature on built-in texts, within ten minutes.
reproduce-quick: setup
	$(BIN)/python -m paper reproduce --quick --seeds 1 --dataset debian-sections --out build/reproduction-quick

# What is shipped: wheels with and without a compiler, each in a fresh environment without extras. Measures what the base
# and each extra take; that installs all of them once.
test-base: setup
	$(BIN)/python tools/test_base_install.py --extras

# The Hugging Face integration with the current and the previous major version of transformers.
test-transformers: setup
	$(BIN)/python tools/test_transformers_majors.py

lint: setup lint-c
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typed_calls.py

# The core without a warning, by each compiler that is here. core/extensions.h holds what ISO C does not have.
lint-c: setup
	mkdir -p build
	for compiler in gcc clang; do \
		command -v $$compiler > /dev/null || { echo "lint-c: $$compiler is not installed: skipped"; continue; }; \
		$$compiler -std=c11 -O3 -Wall -Wextra -Wpedantic -Wno-psabi -Werror -fPIC -shared $(HEADERS) -o build/lint-c.so \
			src/token2wave/core/*.c -lm -lpthread || exit 1; \
	done

check: lint licences test audit

# Licences of all that is installed; one that is not known is refused.
licences: setup
	$(BIN)/python tools/dependencies.py

# Known vulnerabilities of the pinned versions; says so in a line where the service cannot be reached.
audit: $(AUDITED)
	$(BIN)/python tools/audit.py

$(AUDITED): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'token2wave[audit]'
	touch $@

# The wheels of a release, built, checked, and tested where nothing is compiled, into build/wheels. docs/releasing.md.
wheels: $(RELEASER)
	$(BIN)/python tools/build_wheels.py

# Whether version, changelog, README, and what the wheels and the source archive hold are fit for a release.
release-check: $(RELEASER)
	$(BIN)/python tools/release_check.py

$(RELEASER): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'token2wave[release]'
	touch $@

# The language prior that is shipped, from texts in TOKEN2WAVE_DATA/unlabelled: about an hour; resumes. docs/prior.md.
prior: setup
	$(BIN)/python tools/make_prior.py $(PRIOR)

# The software bill of materials, as CycloneDX has it.
sbom: setup
	$(BIN)/python tools/sbom.py build/sbom.json

# The documentation site, into build/site; `python -m http.server -d build/site` shows it, without any other host.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# All ways in, guided by coverage (atheris), then damaged model files and hostile texts at random: both in copies of the
# package with cores of their own. The first has its branches counted where clang is there; the second, and all that
# the first has found so far, is under gcc's sanitizers. SECONDS are shared by all; fuzz-quick takes a minute.
SECONDS ?= 1200
SEED ?= 1
FUZZ := build/fuzz
GUIDED := build/guided
FUZZER := .venv/fuzzer-installed
COUNTED := -std=c11 -O1 -g -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi
HEADERS = -I$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('include'))")
SANITIZED := -std=c11 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi
UNDER_SANITIZERS = PYTHONPATH=$(FUZZ):tools LD_PRELOAD=$$(gcc -print-file-name=libasan.so) PYTHONMALLOC=malloc \
	OPENBLAS_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/python

$(FUZZER): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'token2wave[fuzz]'
	touch $@

$(GUIDED)/core: $(NATIVE) tools/fuzzing/coverage.c
	rm -rf $(GUIDED)
	mkdir -p $(GUIDED)/core
	if command -v clang > /dev/null; then \
		clang -c -fPIC -O1 tools/fuzzing/coverage.c -o $(GUIDED)/coverage.o && \
		clang -shared -fPIC $(COUNTED) -fsanitize=undefined -fsanitize-trap=undefined \
			-fsanitize-coverage=inline-8bit-counters,pc-table $(HEADERS) -o $@/_core.abi3.so \
			src/token2wave/core/*.c $(GUIDED)/coverage.o -lm -lpthread; \
	else gcc -shared -fPIC $(COUNTED) $(HEADERS) -o $@/_core.abi3.so src/token2wave/core/*.c -lm -lpthread; fi

fuzz-quick:
	$(MAKE) fuzz SECONDS=60

fuzz: $(FUZZER) $(GUIDED)/core
	rm -rf $(GUIDED)/token2wave
	cp -r src/token2wave $(GUIDED)/
	rm -f $(GUIDED)/token2wave/core/_core*.so
	cp $(GUIDED)/core/_core.abi3.so $(GUIDED)/token2wave/core/
	PYTHONPATH=$(GUIDED):tools $(BIN)/python -m fuzzing.guided --seconds $$(($(SECONDS) * 5 / 6)) --seed $(SEED) \
		--results build/fuzz/fuzzing.json
	rm -rf $(FUZZ)/token2wave
	mkdir -p $(FUZZ)
	cp -r src/token2wave $(FUZZ)/
	rm -f $(FUZZ)/token2wave/core/_core*.so
	gcc -shared -fPIC $(SANITIZED) $(HEADERS) \
		-o $(FUZZ)/token2wave/core/_core.abi3.so $(FUZZ)/token2wave/core/*.c -lm -lpthread
	for name in words wordpiece oov model checkpoint state; do $(UNDER_SANITIZERS) \
		-m fuzzing.guided --replay $(FUZZ)/corpus/$$name || exit 1; done
	$(UNDER_SANITIZERS) -m fuzzing.run_cases --seconds $$(($(SECONDS) / 6)) --seed $(SEED)

COMPARED := small,small_no_prior,tfidf_svc_tuned,tfidf_logistic_tuned,nbsvm,fasttext_tuned,fasttext_autotune,model2vec_logistic,model2vec_finetuned,minilm_logistic

# What a user would otherwise use; fastText is compiled, which takes a minute or two.
$(RIVALS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'token2wave[bench]'
	touch $@

# All figures of docs/benchmarks.md. Needs TOKEN2WAVE_DATA, an idle machine, and a night; RESUME=--resume goes on after an interruption.
bench: $(RIVALS)
	$(BIN)/python benchmarks/compare.py --name tuned_rivals --data trec,banking77,emotion,sst2,dbpedia14,ag_news,imdb \
		--systems $(COMPARED) --runs 5 --threads $(THREADS) $(RESUME)
	$(BIN)/python benchmarks/compare.py --name training_speed --data ag_news --systems small,fast,fasttext_lr05,tfidf_svc \
		--runs 5 --threads 1 $(RESUME)
	$(BIN)/python benchmarks/few_shot.py $(RESUME)
	$(BIN)/python benchmarks/compare.py --name slow --data ag_news --systems paper --runs 3 --threads $(THREADS) $(RESUME)
	$(BIN)/python benchmarks/probabilities.py
	$(BIN)/python benchmarks/paper_step.py --threads $(THREADS)
	$(BIN)/python benchmarks/growth.py --threads $(THREADS)
	$(BIN)/python benchmarks/html_page.py --data ag_news
	$(BIN)/python benchmarks/prediction.py --data ag_news,imdb,banking77 --runs 5 --threads 1 $(RESUME)
	$(BIN)/python benchmarks/agreement.py --data ag_news,imdb --presets fast,small,paper --threads $(THREADS)
	$(BIN)/python benchmarks/agreement.py --name four_ways --data ag_news --models build/agreement \
		--storages "" --all --threads $(THREADS)
	$(BIN)/python benchmarks/serving.py --threads $(THREADS)
	$(BIN)/python benchmarks/scoring.py --threads $(THREADS)
	$(BIN)/python tools/render_results.py

# The same commands in miniature, on texts that are built in; nothing of it goes into the documents. Prints one table.
QUICK = --threads $(THREADS) --results build/bench
bench-quick: $(RIVALS)
	rm -rf build/bench
	mkdir -p build/bench
	$(BIN)/python benchmarks/compare.py --name quick --data debian-sections --runs 1 $(QUICK) \
		--systems fast,small,fasttext_lr05,tfidf_svc
	$(BIN)/python benchmarks/paper_step.py --data debian-sections --steps 10 --width 64 --rows 1000 --runs 1 $(QUICK)
	$(BIN)/python benchmarks/growth.py --quick --only train-rows,train-words,train-classes,train-vocabulary $(QUICK)
	$(BIN)/python benchmarks/prediction.py --data debian-sections --systems fast,small,fasttext --runs 1 --seconds 0.2 \
		--cold-starts 1 --build build/bench/prediction $(QUICK)
	$(BIN)/python benchmarks/scoring.py --sections beside --beside-documents 5000 --turns 3 --quick \
		--build build/bench/scoring $(QUICK)
	$(BIN)/python benchmarks/speed_table.py --results build/bench

clean:
	rm -rf build dist .venv src/token2wave/core/_core*.so
