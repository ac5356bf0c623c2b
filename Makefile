.PHONY: demo test check bench setup clean

setup: ; @scripts/setup
demo:  ; @scripts/demo
test:  ; @scripts/test
check: ; @scripts/check
bench: ; @scripts/bench

clean: ; rm -rf .venv demo dist
