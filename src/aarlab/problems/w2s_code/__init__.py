"""Does a short Python function do what its docstring says? Labels come from running tests against a reference."""
