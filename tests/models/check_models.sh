#!/bin/sh
# Searches each protocol model exhaustively with spin: no error; and each of its planted faults must be found.
# A model names in its first comment its faults and, where the plain one is too large, the instances to be searched; with
# VMSIG_LONG=1 also those that take longer than a minute or a gigabyte.
set -u
build=$1
here=tests/models
work=$build/models
mkdir -p "$work"

# search MODEL OPT DEFINES: leaves pan's output in $out; fails if it could not be built or did not finish.
search() {
    dir=$work/$1${3:+-$3}
    out=$dir/out
    mkdir -p "$dir"
    cp "$here/$1.pml" "$dir/model.pml"
    defines=$(echo "$3" | sed 's/[^,][^,]*/-D&/g; s/,/ /g')
    # shellcheck disable=SC2086
    (cd "$dir" && spin $defines -a model.pml >out 2>&1 &&
        gcc "$2" -DSAFETY -DNOFAIR -DCOLLAPSE -w -o pan pan.c && timeout 300 ./pan -m500000 >out 2>&1) || return 1
    ! grep -q "max search depth too small\|out of memory\|Search not completed" "$out"
}

number() { sed -n "s/$1/\\1/p" "$out" | head -n 1; }
# listed WORD MODEL: what stands behind "WORD:" in the model's first comment
listed() { sed -n "1,/\*\//p" "$2" | sed -n "/^ \* $1:/,/\*\/\|^ \* [A-Z][a-z ]*:/p" | sed "s/^ \* $1://" | grep -v '^ \* [A-Z][a-z ]*:' | tr -d '*/'; }

for model in "$here"/*.pml; do
    name=$(basename "$model" .pml)
    instances=$(listed Searches "$model")
    [ -n "${VMSIG_LONG-}" ] && instances="$instances $(listed "Long searches" "$model")"
    [ -n "$(echo $instances)" ] || instances=-
    for instance in $instances; do
        [ "$instance" = - ] && instance=
        if search "$name" -O1 "$instance" && grep -q "errors: 0" "$out"; then
            echo "ok $name${instance:+ $instance}: $(number ' *\([0-9.e+]*\) states, stored.*') states," \
                "depth $(number '.*depth reached \([0-9]*\),.*')"
        else
            echo "not ok $name${instance:+ $instance} the model has an error, or the search did not end:"
            head -n 30 "$out"
        fi
    done
    for fault in $(listed "Planted faults" "$model"); do
        search "$name" -O0 "$fault" # which stops at the first error
        if grep -q "errors: 1" "$out"; then
            echo "ok $name with $fault fails, as it must"
        else
            echo "not ok $name with $fault goes unnoticed"
        fi
    done
done
