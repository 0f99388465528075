# Everything from a clean clone: `make demo`, `make test`. The virtual environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPEFT_DATA ?= $(wildcard ../shared/data)
CPEFT_MODELS ?= $(wildcard ../shared/models)
export CPEFT_DATA CPEFT_MODELS

.PHONY: demo test bench-quick bench bench-full lint check clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/ready
	$(BIN)/cpeft run quickstart --store build/demo --processes 2

test: $(VENV)/ready
	$(BIN)/pytest -n 2 --dist loadfile --durations 10

bench-quick bench bench-full: $(VENV)/ready
	$(BIN)/python -m benchmarks $(if $(findstring quick,$@),quick,$(if $(findstring full,$@),full,standard)) --out build/$@

lint: $(VENV)/ready
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) build
