#!/usr/bin/env bash
# `make test`: installs what is missing, runs every test, closes with the counts of all of them.
. "$(dirname "$0")/lib.sh"
cd "$repository"

log=$(mktemp)
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
export KETCD_SKIP_LOG=$PWD/target/skipped.log
mkdir -p target
: >"$KETCD_SKIP_LOG"
trap 'rm -f "$log"' EXIT
failed=

step() {
    local name=$1 started=$SECONDS
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    if "$@" 2>&1 | tee -a "$log"; then
        printf '=== %s: done in %d s\n' "$name" $((SECONDS - started))
    else
        printf '=== %s: FAILED after %d s\n' "$name" $((SECONDS - started))
        failed="$failed $name"
    fi
}

step "set-up" make --no-print-directory build-needs etcd peers
[ -z "$failed" ] || exit 1
step format cargo fmt --check
step clippy cargo clippy --locked --all-targets -- -D warnings
# One profile for all tests, and for the binary that they start: nothing is built twice.
step tests cargo test --locked --no-fail-fast

count() { awk -v what="$1" '/^test result: / { for (i = 1; i < NF; i++) if ($(i + 1) ~ "^" what) n += $i } END { print n + 0 }' "$log"; }
skipped=$(wc -l <"$KETCD_SKIP_LOG")
printf '\n'
if [ "$skipped" != 0 ]; then
    printf 'Skipped here:\n'
    sort "$KETCD_SKIP_LOG" | sed 's/^/  /'
fi
[ -z "$failed" ] || printf 'FAILED:%s\n' "$failed"
printf '%d passed, %d failed, %d skipped\n' "$(count passed)" "$(count failed)" "$skipped"
[ -z "$failed" ]
