#!/bin/sh
# The program `vmsig` as it is used, without a topology that runs.
#   sh tests/cli/check_cli.sh BUILD
set -u
vmsig=$1/bin/vmsig
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_RUNTIME_DIR="$tmp"

# NAME CODE PATTERN ARGS...: the exit code, and a line of stderr (or stdout) that matches; nothing else on stderr
case_() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$vmsig" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    code=$?
    lines=$(wc -l <"$tmp/err")
    if [ "$code" != "$want" ]; then
        echo "not ok $name: exit code $code, not $want: $(head -n 2 "$tmp/err" | tr '\n' ' ')"
    elif ! cat "$tmp/err" "$tmp/out" | grep -qE -- "$pattern"; then
        echo "not ok $name: '$pattern' is not in: $(cat "$tmp/err" "$tmp/out" | head -n 3 | tr '\n' ' ')"
    elif [ "$want" != 0 ] && [ "$lines" != 1 ]; then
        echo "not ok $name: $lines lines on stderr instead of one sentence"
    elif [ "$want" = 0 ] && [ -s "$tmp/err" ]; then
        echo "not ok $name: complains: $(head -n 1 "$tmp/err")"
    else
        echo "ok $name"
    fi
}

case_ "help" 0 '^  up ' help
case_ "version" 0 '^vmsig [0-9]' version
case_ "--version" 0 '^vmsig [0-9]' --version
for c in up check status top restart plug unplug reload upgrade tap send audit bench; do
    case_ "$c --help" 0 "^(usage: )?vmsig $c" "$c" --help
    case_ "help $c" 0 "^(usage: )?vmsig $c" help "$c"
    case_ "$c refuses an unknown option" 64 'vmsig.* --bogus' "$c" --bogus
done
for c in up check status top restart plug unplug reload upgrade tap send audit; do
    case_ "$c --help gives an example" 0 "^  vmsig $c" "$c" --help
done
case_ "an unknown command" 64 'there is no command frobnicate' frobnicate
case_ "a slip is understood" 64 'did you mean `vmsig status`' statsu
case_ "help of an unknown command" 64 'no command nope' help nope
case_ "status takes no words" 64 'demo is not expected' status demo
case_ "status of nothing" 1 'no topology runs' status
case_ "status of a name that does not run" 1 'nope does not run' status --name nope
case_ "status of an impossible name" 1 "is not a topology's name" status --name ../x
case_ "restart of nothing" 1 'no topology runs' restart ctx
case_ "restart without a name" 64 'expected NAME' restart
case_ "plug without an actor" 64 'expected ACTOR' plug
case_ "plug of a file that is not there" 2 "$tmp/none.yaml" plug "$tmp/none.yaml"
case_ "unplug without a name" 64 'expected NAME' unplug
case_ "reload of nothing" 1 'no topology runs' reload
case_ "reload of a file that is not there" 2 "$tmp/none.yaml" reload "$tmp/none.yaml"
case_ "upgrade of nothing" 1 'no topology runs' upgrade
case_ "upgrade to a folder that is not there" 1 'none: No such file' upgrade "$tmp/none"
case_ "upgrade to two folders" 64 'one folder of programs at a time' upgrade a b
case_ "reload of two files" 64 'one topology at a time' reload a b
case_ "tap of nothing" 1 '^vmsig tap: ' tap
case_ "tap --name with --socket" 64 'exclude each other' tap --name a --socket b
case_ "tap of an unknown source" 64 'source bogus' tap --source bogus
case_ "tap of an unknown kind" 64 'kind bogus' tap --kind bogus
case_ "tap of an unknown priority" 64 'min-prio bogus' tap --min-prio bogus
case_ "tap of an endpoint by name, by socket" 64 'with --socket' tap --socket x --endpoint lab
case_ "tap of an endpoint beyond the last" 1 '.' tap --endpoint 64
case_ "tap of a socket that is not there" 1 "$tmp/none" tap --socket "$tmp/none"
case_ "audit without a verb" 64 'expected show, verify or follow' audit
case_ "audit with a slip" 64 'did you mean verify' audit verfy
case_ "audit of nothing" 1 'no topology runs' audit show
case_ "audit verify of nothing has no verdict" 66 'no topology runs' audit verify
case_ "audit of a file that is not there" 66 "$tmp/none" audit verify "$tmp/none"
case_ "audit with a wrong anchor" 64 'anchor nope' audit verify "$tmp/none" --anchor nope
case_ "audit --name with a file" 64 'exclude each other' audit show "$tmp/none" --name x
case_ "send without a command" 64 'expected ENDPOINT COMMAND' send 0
case_ "send of an unknown command" 64 'did you mean key' send 0 kye a
case_ "send of an unknown key" 64 "no key 'bogus'" send 0 key bogus
case_ "send to nothing" 1 '^vmsig send: ' send 0 key a
case_ "up of a file that is not there" 2 "$tmp/none.yaml" up "$tmp/none.yaml"
case_ "up of an unreadable file" 2 "$tmp" up "$tmp"
case_ "up with two files" 64 'one topology at a time' up a.yaml b.yaml
case_ "up --tap with --no-tap" 64 'exclude each other' up --tap --no-tap
case_ "up with an impossible name" 64 'name' up --name a/b
case_ "check of the built-in demo" 0 '.' check
case_ "check of a file that is not there" 2 "$tmp/none.yaml" check "$tmp/none.yaml"
if [ -e "$tmp/vmsig" ]; then echo "not ok nothing is left behind: $(find "$tmp/vmsig")"; else echo "ok nothing is left behind"; fi

# Without XDG_RUNTIME_DIR: a user whom no session gave a folder.
ordinary() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid 65531 --regid 65531 --clear-groups "$@"
    else
        "$@"
    fi
}
uid=$(ordinary id -u)
want=/tmp/vmsig-$uid
if [ -d "/run/user/$uid" ]; then want=/run/user/$uid/vmsig; fi
program=$(realpath "$vmsig")
said=$(cd / && ordinary env -u XDG_RUNTIME_DIR "$program" status --name none 2>&1)
case $said in
*"$want/none/"*) echo "ok a run directory without a session" ;;
*) echo "not ok a run directory without a session: $said" ;;
esac

"$vmsig" check --json >"$tmp/out" 2>&1 && python3 -m json.tool "$tmp/out" >/dev/null 2>"$tmp/err"
if [ $? = 0 ]; then echo "ok check --json is JSON"; else echo "not ok check --json is JSON: $(head -n 1 "$tmp/err" "$tmp/out")"; fi

"$vmsig" >"$tmp/out" 2>&1
if [ $? = 64 ]; then echo "ok no command is wrong usage"; else echo "not ok no command is wrong usage: $?"; fi
"$vmsig" help >/dev/full 2>"$tmp/err"
if [ $? = 1 ] && grep -q 'No space' "$tmp/err"; then
    echo "ok a full disk is told"
else
    echo "not ok a full disk is told: $(cat "$tmp/err")"
fi
{ "$vmsig" help; echo $? >"$tmp/code"; } 2>"$tmp/err" | :
if [ "$(cat "$tmp/code")" = 0 ] && [ ! -s "$tmp/err" ]; then
    echo "ok a reader that went away is no failure"
else
    echo "not ok a reader that went away is no failure: $(cat "$tmp/code" "$tmp/err")"
fi
