# shellcheck shell=bash
# How the machine is made; sourced by run.

# make_disk DIR FILE: an ext4 image of DIR, no larger than it has to be.
make_disk() {
    local kib files as_root=()
    kib=$(du -sk --apparent-size "$1" | cut -f1)
    files=$(find "$1" | wc -l)
    truncate -s "$((kib * 11 / 10 + files * 5 + 16384))K" "$2"
    # Files of an ordinary user are root's in a user namespace.
    ((EUID == 0)) || as_root=(unshare -r)
    "${as_root[@]}" mkfs.ext4 -q -F -O ^has_journal -m 0 -b 4096 -N "$((files + 64))" \
        -d "$1" "$2" >&2 || die "cannot make a disk from the shared files"
}

# choose_accel IMAGE WORKDIR: kvm if it can really run our kernel, else tcg.
# /dev/kvm alone proves nothing: in some sandboxes it opens, but the guest hangs
# or crashes. So guest/probe is booted as init, and its sum is the proof.
choose_accel() {
    local image=$1 work=$2 answer
    case ${SUPERVISOR_MACHINE_ACCEL:-auto} in
        tcg | kvm)
            echo "$SUPERVISOR_MACHINE_ACCEL"
            return
            ;;
    esac
    if [[ ! -w /dev/kvm ]]; then
        echo tcg
        return
    fi
    # The answer holds until the host reboots.
    answer=$CACHE/accel-$(tr -d '\n' </proc/sys/kernel/random/boot_id)
    if [[ ! -s $answer ]]; then
        local accel=tcg
        timeout -k 2 30 qemu-system-x86_64 -no-user-config -nodefaults -display none \
            -M q35 -accel kvm -cpu host -smp 2 -m 512 -no-reboot -nic none \
            -kernel "$image/vmlinuz" -initrd "$image/initrd" \
            -append "console=ttyS0 root=/dev/vda ro panic=1 init=/usr/local/lib/machine/probe" \
            -serial "file:$work/probe" \
            -drive "file=$image/root.ext4,format=raw,if=none,id=root,snapshot=on" \
            -device virtio-blk-pci,drive=root </dev/null >/dev/null 2>&1 || true
        if grep -q 'machine probe: 4999950000' "$work/probe" 2>/dev/null; then accel=kvm; fi
        rm -f "$CACHE"/accel-*
        echo "$accel" >"$answer.$$"
        mv "$answer.$$" "$answer"
    fi
    cat "$answer"
}

# start_qemu ACCEL IMAGE ROOT CONSOLE KERNEL_ARGS STDOUT_FD STDERR_FD CONTROL [DISK FILE READONLY]...
# Starts QEMU in the background and sets qemu_pid. What is written to the root is kept in the file ROOT;
# if that is empty, the image's own is used and what is written is thrown away.
start_qemu() {
    local accel=$1 image=$2 root=${3:-$2/root.ext4} console=$4 extra=$5 out_fd=$6 err_fd=$7 control=$8
    local throw_away=on
    [[ -z $3 ]] || throw_away=off
    shift 8
    # No network device at all. panic= also keeps the initrd from offering a
    # shell: everything fatal ends in a reboot, which -no-reboot turns into exit.
    # no_timer_check: where the host is busy the emulated timer comes too late for the kernel, which panics.
    local append="console=ttyS0 root=/dev/vda rw rootfstype=ext4"
    append+=" fsck.mode=skip panic=1 nowatchdog no_timer_check mitigations=off systemd.log_color=0 $extra"
    # shellcheck disable=SC2054 # the commas are QEMU's
    local args=(
        -no-user-config -nodefaults -display none -nic none -no-reboot
        -M q35,usb=off,hpet=off -smp 2 -m 3072
        -kernel "$image/vmlinuz" -initrd "$image/initrd" -append "$append"
        -serial "file:$console"
        -device virtio-rng-pci
        -drive "file=$root,format=raw,if=none,id=root,snapshot=$throw_away,cache=unsafe"
        -device virtio-blk-pci,drive=root,serial=root
        -device virtio-serial-pci
        -chardev "file,id=stdout,path=/dev/fd/$out_fd"
        -device virtserialport,chardev=stdout,name=machine.stdout
        -chardev "file,id=stderr,path=/dev/fd/$err_fd"
        -device virtserialport,chardev=stderr,name=machine.stderr
        -chardev "file,id=control,path=$control"
        -device virtserialport,chardev=control,name=machine.control
    )
    case $accel in
        kvm) args+=(-accel kvm -cpu host) ;;
        *) args+=(-accel "tcg,thread=multi" -cpu max) ;;
    esac
    while (($# > 0)); do
        args+=(
            -drive "file=$2,format=raw,if=none,id=$1,readonly=$3,cache=unsafe"
            -device "virtio-blk-pci,drive=$1,serial=$1"
        )
        shift 3
    done
    # Whatever ends run, even SIGKILL, ends the machine.
    setpriv --pdeathsig KILL qemu-system-x86_64 "${args[@]}" </dev/null &
    # shellcheck disable=SC2034 # for the caller
    qemu_pid=$!
}
