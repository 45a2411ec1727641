# shellcheck shell=bash disable=SC2034
# Shared by run, build and install-tools; sourced, never executed.

MIN_QEMU=10
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
TRIXIE_KEY=/usr/share/keyrings/debian-archive-trixie-stable.gpg
CACHE=${SUPERVISOR_MACHINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/supervisor-machine}

say() { echo "machine: $*" >&2; }
# 125 is what `run` promises for any failure of the machine itself.
die() {
    say "$*"
    exit 125
}

# The Debian mirror this host already uses, as apt itself understands its
# configuration: nothing here names a registry.
debian_mirror() {
    local codename uri
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # All lines are read (no early exit), else apt-get could die of SIGPIPE.
    # shellcheck disable=SC2016 # apt expands these, not the shell
    uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
        'Created-By: Packages' |
        awk -v r="$codename" '$1 == r && $2 == "main" && !u { u = $3 } END { print u }')
    [[ -n $uri ]] || die "no apt source for '$codename main' to take the mirror from"
    echo "${uri%/}"
}

qemu_version() {
    qemu-system-x86_64 --version 2>/dev/null |
        sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p'
}

# QEMU 7.2 (Debian 12) corrupts the guest: its results would mean nothing.
qemu_is_new_enough() {
    local v
    v=$(qemu_version) || true
    [[ -n $v && ${v%%.*} -ge $MIN_QEMU ]]
}

require_qemu() {
    command -v qemu-system-x86_64 >/dev/null ||
        die "qemu-system-x86_64 is missing: run tests/machine/install-tools as root"
    qemu_is_new_enough ||
        die "QEMU $(qemu_version) corrupts the guest; >= $MIN_QEMU is needed: run tests/machine/install-tools as root"
}

# The image depends on nothing but these files, so they name it.
image_key() {
    local here=$1
    (cd "$here" && cat build guest/*) | sha256sum | cut -c1-16
}
