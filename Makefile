# Everything from a clean clone: `make demo`, `make test`. The virtual environment is made on first use: with what the demo needs,
# or with everything that the tests can use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPEFT_DATA ?= $(wildcard ../shared/data)
CPEFT_MODELS ?= $(wildcard ../shared/models)
export CPEFT_DATA CPEFT_MODELS

.PHONY: demo test bench-quick bench bench-full lint check clean

PIP := $(BIN)/pip install --quiet --disable-pip-version-check

$(VENV)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[gguf]'
	touch $@

$(VENV)/ready: $(VENV)/demo
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

# Exit code 3 of `cpeft fetch`: nobody in reach has the model.
demo: $(VENV)/demo
	@$(BIN)/cpeft fetch smollm2; case $$? in \
	  0) $(BIN)/cpeft run quickstart --store build/demo --processes 2 ;; \
	  3) echo "smollm2 is not in reach, so the demo runs on mini, a small model that comes with the package"; \
	     $(BIN)/cpeft run quickstart-mini --store build/demo --processes 2 ;; \
	  *) exit 1 ;; \
	esac

test: $(VENV)/ready
	$(BIN)/pytest -n 2 --dist loadfile --durations 10

bench-quick bench bench-full: $(VENV)/ready
	$(BIN)/python -m benchmarks $(if $(findstring quick,$@),quick,$(if $(findstring full,$@),full,standard)) --out build/$@

lint: $(VENV)/ready
	$(BIN)/ruff check src tests tools studies benchmarks
	$(BIN)/ruff format --check src tests tools studies benchmarks
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) build
