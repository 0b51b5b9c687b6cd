#!/usr/bin/env bash
# The programs as they are deployed, for x86-64 and arm64 from any machine:
#
#     infra/build.sh [--config gateway.toml] [x86_64|aarch64]...
#
# writes to target/deploy/<architecture>/
#     queuebridge, queuebridge-demo    for containers
#     gateway.zip                      `bootstrap` and gateway.toml, for Lambda (provided.al2023)
#     worker-demo.zip                  `bootstrap`
#     *.cdx.json                       what is in them (CycloneDX), where cargo-cyclonedx is installed
#     SHA256SUMS
#
# Needs the Rust toolchain, Python 3, and from PyPI the packages of infra/requirements-build.txt.
# The same sources, toolchain and packages give the same bytes, wherever they lie.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

# Amazon Linux 2023, and with it Lambda, has this one; newer systems run it as well.
glibc=2.34
config=infra/gateway.toml
architectures=()
while [ $# -gt 0 ]; do
    case $1 in
        --config) config=$2; shift 2 ;;
        x86_64 | aarch64) architectures+=("$1"); shift ;;
        *) echo "usage: $0 [--config FILE] [x86_64|aarch64]..." >&2; exit 2 ;;
    esac
done
[ ${#architectures[@]} -gt 0 ] || architectures=(x86_64 aarch64)
[ -f "$config" ] || { echo "$config: no such file" >&2; exit 2; }

# The time of the last commit, as far as there is one: what is built later of the same is the
# same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
# Nothing says where it was built.
home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$root=/src --remap-path-prefix=$home=/cargo"
CFLAGS="-ffile-prefix-map=$root=/src -ffile-prefix-map=$home=/cargo"
export SOURCE_DATE_EPOCH RUSTFLAGS CFLAGS

# Writes a zip whose bytes depend on nothing but what is in it: zip TARGET [NAME=FILE]...
archive() {
    python3 - "$@" <<'PYTHON'
import sys, time, zipfile, os
target, *entries = sys.argv[1:]
date = time.gmtime(max(int(os.environ["SOURCE_DATE_EPOCH"]), 315532800))[:6]
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
    for entry in entries:
        name, _, file = entry.partition("=")
        info = zipfile.ZipInfo(name, date)
        info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
        info.external_attr = (0o100755 if name == "bootstrap" else 0o100644) << 16
        with open(file, "rb") as content:
            out.writestr(info, content.read())
PYTHON
}

for architecture in "${architectures[@]}"; do
    target=$architecture-unknown-linux-gnu
    out=target/deploy/$architecture
    mkdir -p "$out"
    cargo zigbuild --release --locked --target "$target.$glibc" \
        -p queuebridge-gateway -p queuebridge-demo --bins
    for program in queuebridge queuebridge-demo; do
        cp "target/$target/release/$program" "$out/$program"
    done
    archive "$out/gateway.zip" "bootstrap=$out/queuebridge" "gateway.toml=$config"
    archive "$out/worker-demo.zip" "bootstrap=$out/queuebridge-demo"
    if cargo cyclonedx --version >/dev/null 2>&1; then
        for package in gateway worker/demo; do
            name=$(basename "$package").cdx
            cargo cyclonedx --manifest-path "$package/Cargo.toml" --format json --target "$target" \
                --override-filename "$name" --quiet
            mv "$package/$name.json" "$out/"
        done
    else
        echo "no list of what is inside: cargo install cargo-cyclonedx --locked" >&2
    fi
    (cd "$out" && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
    cat "$out/SHA256SUMS"
done
