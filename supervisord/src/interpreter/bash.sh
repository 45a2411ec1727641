# What runs inside the sandbox of a bash interpreter. The words that come on descriptor 3 are lines of text,
# `cell NUMBER BYTES WORD`, `interrupt NUMBER` and `resume NONCE`; the frames that go are those of python.py.
#
# Two shells: this one listens, the other one has the variables and runs the cells. That one is interactive, of
# no terminal, because an interrupt takes an interactive shell back to its next command and ends any other.
# Its commands come by a pipe of its own; the end of each cell is a command by itself, which comes after an
# interrupt, too. By a pipe back it says how far it is (`ready`, `begun NUMBER`, `ended NUMBER`): one that is not
# ready yet would be ended by an interrupt, and what it has read of a line would be lost.

unset runner length
set -m # a process group for the other shell and what it starts, which is what is interrupted
exec 4>&1 5>&2
coproc INNER {
    trap : INT # is for the other shell, in whose group this one is
    bash --norc --noprofile --noediting -i 7>&1 >&4 2>/dev/null 4>&-
    status=$?
    kill -TERM $$ # a cell may end its shell, and that is the end
    exit "$status"
}
# Where there are few descriptors bash has the pipes at low numbers, 6 among them: that one is moved before.
exec {hears}<&"${INNER[0]}" 6>&"${INNER[1]}" 4>&- 5>&- 2>/dev/null
inner=$INNER_PID
trap 'wait "$inner"; exit' TERM
LC_ALL=C                        # lengths are of bytes
# The warnings that there is no terminal are nobody's; from then on standard error is as it was.
cat >&6 <<'END'
PS1= PS2= PROMPT_COMMAND=; unset HISTFILE; set +o history +H +m
# Names that no cell has made readonly, and no function that a cell has named printf or set.
supervisor_hush() {
    # What a cell has had said of each command (set -xv) is said of its own alone, and again in the next. So is what
    # makes arguments of ours into variables (set -k).
    supervisor_status=$? supervisor_options=
    [[ $- = *k* ]] && supervisor_options+=k
    [[ $- = *x* ]] && supervisor_options+=x
    [[ $- = *v* ]] && supervisor_options+=v
    supervisor_options=${supervisor_options:+builtin set -$supervisor_options$'\n'}
    builtin set +kxv
}
supervisor_done() {
    local supervisor_code=$? supervisor_word=ok
    # It comes once more with each interrupt, which may have taken it away.
    if [[ ${supervisor_last-} = *'"number":'$1,* ]]; then
        builtin echo "ended $1" >&7
        return
    fi
    if [[ -v supervisor_status ]]; then
        supervisor_code=$supervisor_status
    else
        supervisor_hush # which an interrupt passes over
    fi
    builtin unset -v supervisor_status
    [[ $supervisor_code = 130 ]] && supervisor_word=interrupted
    supervisor_code='{"is":"done","number":'$1',"status":"'$supervisor_word'","exit_status":'$supervisor_code'}'
    builtin printf '%s\n' "$supervisor_code" >&3
    supervisor_last=$supervisor_code
}
exec 2>&5 5>&-; builtin echo ready >&7
END

# Reads what the other shell says until it is this, for no longer than `read` may take.
hear() {
    local words=$1 said
    shift
    while read -r "$@" -u "$hears" said; do
        [[ $said = "$words" ]] && return
    done
    return 1
}

hear ready
last=0 ended=
while IFS=' ' read -r -u 3 word number rest; do
    case $word in
    cell)
        # A line that was cut off has another length. The word is a string of the other shell's.
        [[ $number =~ ^[0-9]+$ ]] || continue
        length=${rest%% *} rest=${rest#* }
        [[ ${#rest} = "$length" ]] && ((number > last)) || continue
        last=$number ended=
        # What is ours is said to nobody, whatever the cell has had said of commands (set -xv, a trap of DEBUG).
        begin="{ builtin echo begun $number >&7; } >/dev/null 2>&1"
        run="eval -- \"\${supervisor_options-}\"$rest </dev/null 3>&- 7>&-"
        end="{ supervisor_done $number; } >/dev/null 2>&1"
        # After what is not closed bash takes no word of the next line for its own: that line is empty.
        printf '%s\n' "$begin; $run; { supervisor_hush; } >/dev/null 2>&1" "" "$end" >&6
        hear "begun $number"
        ;;
    interrupt)
        [[ $number = "$last" && -z $ended ]] || continue
        # Bash loses an interrupt while it starts a command, so it is sent again, for 4 s: a cell that goes on
        # has a second more until its interpreter is ended, and a loop of short programs loses two of three.
        for ((times = 0; times < 16; times++)); do
            kill -INT -- "-$inner"
            printf '%s\n' "" "$end" >&6
            hear "ended $number" -t 0.25 && ended=1 && break
        done
        ;;
    resume)
        printf '{"is":"state","nonce":"%s","last":%d}\n' "$number" "$last" >&3
        # Once more; for now, or after the cell that runs.
        printf '%s\n' '[[ -v supervisor_last ]] && builtin printf "%s\n" "$supervisor_last" >&3' >&6
        ;;
    esac
done
