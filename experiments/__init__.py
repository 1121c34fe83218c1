"""Results on real data: one module a table, one command each; `docs/results.md` says how to run and add one."""
