# Every recipe is a command of ./x, which needs nothing but a shell.

# List the recipes.
default:
    @just --list

# Show a workflow that survives the kill of its worker.
demo *arguments:
    ./x demo {{arguments}}

# Set up, build and run all tests.
test *arguments:
    ./x test {{arguments}}

# Let Dacapo work for a long time, and watch what grows.
soak *arguments:
    ./x soak {{arguments}}

# Play seeds of the simulation: how many, or one with `--seed N`.
sim *arguments:
    ./x sim {{arguments}}

# Random inputs at every door: SECONDS, --seed N, --target NAME.
fuzz *arguments:
    ./x fuzz {{arguments}}

# Install what is missing: the guests' Rust target and a Postgres server.
setup:
    ./x setup

# Build the guests.
guests:
    ./x guests

# Build the guests and the host.
build *arguments:
    ./x build {{arguments}}

# Format everything.
fmt:
    ./x fmt

# Formatting, prepared queries, clippy, documentation, deny, manifests.
lint:
    ./x lint

# Hold what comes from elsewhere against deny.toml.
deny:
    ./x deny

# Write what dacapo is made of to target/sbom/.
sbom:
    ./x sbom

# Hold deploy/kubernetes against the schemas of Kubernetes.
manifests:
    ./x manifests

# Build the container image with docker, podman or buildah.
image *arguments:
    ./x image {{arguments}}

# Renew store/.sqlx after a change of a query or a migration.
prepare *arguments:
    ./x prepare {{arguments}}

# Lint and test.
ci:
    ./x ci
