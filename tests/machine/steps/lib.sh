# shellcheck shell=bash
# What every step has; sourced. Each check says in a sentence what holds, or what was seen instead.
set -u
export LC_ALL=C.UTF-8 NO_COLOR=1
passed=0 failed=0
# Which system this is, such as debian 13, and the controls that its kernel holds less well than Linux 6.12.
system=$(. /etc/os-release && echo "$ID $VERSION_ID")
case $system in
    "debian 12") weaker_here="landlock_network landlock_scopes" ;;
    "ubuntu 24.04") weaker_here=landlock_scopes ;;
    *) weaker_here="" ;;
esac

ok() {
    passed=$((passed + 1))
    echo "ok      $1"
}
bad() { # NAME WHAT_WAS_SEEN
    failed=$((failed + 1))
    echo "FAILED  $1"
    sed 's/^/        /' <<<"$2"
}
# Two minutes at the most for a program; functions of these files bound their own.
limited() {
    if declare -F "$1" >/dev/null; then "$@"; else timeout 120 "$@"; fi
}
# expect NAME STATUS COMMAND...: the exit status is what it should be.
expect() {
    local name=$1 want=$2 got=0 seen
    shift 2
    seen=$(limited "$@" 2>&1 </dev/null) || got=$?
    if [[ $got == "$want" ]]; then ok "$name"; else bad "$name" "exit status $got, not $want: $seen"; fi
}
# says NAME PATTERN COMMAND...: what it says has this in it.
says() {
    local name=$1 pattern=$2 seen
    shift 2
    seen=$(limited "$@" 2>&1 </dev/null) || true
    if grep -q -e "$pattern" <<<"$seen"; then ok "$name"; else bad "$name" "no '$pattern' in: $seen"; fi
}
# is NAME WORDS COMMAND...: it says exactly this.
is() {
    local name=$1 want=$2 seen
    shift 2
    seen=$("$@" 2>&1 </dev/null) || true
    if [[ $seen == "$want" ]]; then ok "$name"; else bad "$name" "'$seen', not '$want'"; fi
}
is_not() {
    local name=$1 other=$2 seen
    shift 2
    seen=$("$@" 2>&1 </dev/null) || true
    if [[ $seen != "$other" ]]; then ok "$name"; else bad "$name" "'$seen' still"; fi
}
section() { echo "-- $1 ($SECONDS s)"; }
# eventually NAME COMMAND...: it succeeds within half a minute.
eventually() {
    local name=$1 end=$((SECONDS + 180))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            bad "$name" "not within 180 s: $*"
            return
        fi
        sleep 0.1
    done
    ok "$name"
}
# field COMMAND_OUTPUT_AS_JSON EXPRESSION: prints a part of what a command says with --json.
field() {
    python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}
# field_of EXPRESSION COMMAND...: the same of a command.
field_of() {
    local expression=$1
    shift
    "$@" | field "$expression"
}
# not_enforced COMMAND...: the controls that this doctor does not find enforced.
not_enforced() { "$@" --json | field '" ".join(c["control"] for c in d["controls"] if c["status"] != "enforced")'; }
main_pid() { systemctl show -P MainPID "$1"; }
# running ID TEXT: the execution runs and has said so.
running() { [[ $(supervisorctl output "$1") == *"$2"* ]]; }
submit() { ./as agent supervisorctl submit --quiet "$@"; }
state() { supervisorctl status --json "$1" | field 'd["state"]'; }
outcome() { supervisorctl status --json --wait 60 "$1" | field '(d.get("outcome") or {}).get("type")'; }
new_daemon() { [[ $(systemctl is-active supervisord) == active && $(main_pid supervisord) != "$1" ]]; }
# Manual pages and documentation with it, which machines as small as this one are told to leave out.
install_package() { dpkg --path-include='/usr/share/*' -i "$1"; }
supervisor_version() { dpkg-query -Wf '${Version}' supervisord; }
refused_policy() { ./as agent supervisorctl run -q --policy "$1" -- true 2>&1 | grep -q 'no policy of this name'; }
# Processes with a host id of a sandbox.
sandboxed() { ps -eo uid=,pid=,args= | awk '$1 >= 1879048192'; }
landlock_in_force() { grep -o landlock /sys/kernel/security/lsm; }
# The lines of a command's output, and its words in one line.
count() { "$@" | wc -l; }
words() { "$@" | xargs; }
# Every file that a package could leave behind.
files() {
    local except=() place
    for place in /proc /sys /run /tmp /mnt /root /var/tmp /var/log /var/cache /var/lib/dpkg; do
        except+=(-path "$place" -o)
    done
    find / -xdev \( "${except[@]}" -false \) -prune -o -print | sort
}
finish() {
    if ((failed > 0)); then
        echo "-- the journal of the units:"
        journalctl -b --no-pager -o short-monotonic -u 'supervisor*' | tail -n 60
    fi
    echo "$passed passed, $failed failed"
    ((failed == 0))
    exit
}
