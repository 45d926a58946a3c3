#!/bin/sh
# Searches each protocol model exhaustively with spin: no error; and each of its planted faults must be found.
set -u
build=$1
here=tests/models
work=$build/models
mkdir -p "$work"

# search MODEL [FAULT]: leaves pan's output in $out; fails if it could not be built or did not finish the search.
search() {
    dir=$work/$1${2:+-$2}
    out=$dir/out
    mkdir -p "$dir"
    cp "$here/$1.pml" "$dir/model.pml"
    (cd "$dir" && spin ${2:+-D$2} -a model.pml >spin.log 2>&1 &&
        cc -O1 -DSAFETY -DVECTORSZ=2048 -DNOFAIR -w -o pan pan.c && timeout 120 ./pan -m2000000 >out 2>&1) || return 1
    ! grep -q "max search depth too small\|out of memory" "$out"
}

number() { sed -n "s/$1/\\1/p" "$out" | head -n 1; }

for model in "$here"/*.pml; do
    name=$(basename "$model" .pml)
    if search "$name" && grep -q "errors: 0" "$out" && ! grep -q "Search not completed" "$out"; then
        echo "ok $name: $(number ' *\([0-9.e+]*\) states, stored.*') states, depth $(number '.*depth reached \([0-9]*\),.*')"
    else
        echo "not ok $name the model has an error, or the search did not end:"
        cat "$work/$name/spin.log" "$out" 2>/dev/null | head -n 30
    fi
    faults=$(sed -n '/Planted faults:/,/\*\//p' "$model" | tr -d '*/' | sed 's/Planted faults://')
    for fault in $faults; do
        if search "$name" "$fault" && grep -q "errors: 1" "$out"; then
            echo "ok $name with $fault fails, as it must"
        else
            echo "not ok $name with $fault goes unnoticed"
        fi
    done
done
