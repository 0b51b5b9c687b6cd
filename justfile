# Every command of this project. `tests/run` needs no `just`; CI calls it, too.

# The embedded stack on 127.0.0.1:50051.
run:
    cargo run

# The interoperability service of gRPC behind the bridge, on 127.0.0.1:50053: over an AWS
# endpoint with --endpoint URL, without the bridge with --direct. Its client is
# tests/python/interop.py HOST:PORT.
interop *ARGS:
    cargo run -p queuebridge-interop -- {{ARGS}}

# Unit tests and `it`.
test:
    tests/run test

# Processes and foreign clients: all, or those whose names match, such as `just e2e test_calls`.
e2e *FILTERS:
    tests/run e2e {{FILTERS}}

# All tests. Needs the Rust toolchain and Python 3, and installs what else it needs.
all:
    tests/run all

# Formatting, lints, documentation, licences.
check:
    tests/run check

# What a change has to pass: all and check.
ci:
    tests/run ci

# One fuzz target of tests/src/fuzz until it is stopped, or what libFuzzer's options say:
# `just fuzz envelope -max_total_time=600`. Needs a nightly compiler and cargo-fuzz.
fuzz TARGET *ARGS:
    cd tests/fuzz && cargo +nightly fuzz run --fuzz-dir . {{TARGET}} corpus/{{TARGET}} -- {{ARGS}}

# Ratios, side by side; not a test.
bench *ARGS:
    cargo bench -p queuebridge-tests --bench bridge -- {{ARGS}}

# What the worker costs as a Lambda function, beside an empty one.
bench-lambda *ARGS:
    cargo bench -p queuebridge-tests --bench lambda -- {{ARGS}}

# The templates in infra/, from the configuration beside them.
infra:
    cargo run -p queuebridge-gateway -- infra --config infra/gateway.toml --out infra
