//! Why an ordinary user can't have a user namespace here, and what to do about it.

use std::fs;
use std::io;

use nix::libc;

/// A switch of the kernel: where it is read, the value that forbids, and what is said then.
struct Switch {
    path: &'static str,
    forbids: &'static str,
    says: &'static str,
}

const SWITCHES: [Switch; 3] = [
    Switch {
        path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        forbids: "1",
        says: "this host restricts unprivileged user namespaces \
               (kernel.apparmor_restrict_unprivileged_userns = 1); run as root, install the \
               package, whose AppArmor profile allows them to its programs, or: sysctl \
               kernel.apparmor_restrict_unprivileged_userns=0",
    },
    Switch {
        path: "/proc/sys/kernel/unprivileged_userns_clone",
        forbids: "0",
        says: "unprivileged user namespaces are switched off \
               (kernel.unprivileged_userns_clone = 0); run as root, or: sysctl \
               kernel.unprivileged_userns_clone=1",
    },
    Switch {
        path: "/proc/sys/user/max_user_namespaces",
        forbids: "0",
        says: "user namespaces are switched off (user.max_user_namespaces = 0); run as root, or: \
               sysctl user.max_user_namespaces=15000",
    },
];

/// What AppArmor says about the program that asks: its profile and, in brackets, the mode.
const PROFILE: &str = "/proc/self/attr/apparmor/current";

/// What stands behind this error of an attempt, as far as this host tells.
pub fn found(error: &io::Error) -> Option<String> {
    let switch = SWITCHES.iter().find(|switch| reads(switch.path, switch.forbids));
    if let Some(switch) = switch {
        return Some(switch.says.to_owned());
    }
    match error.raw_os_error() {
        Some(libc::EACCES) => {
            Some(confined(&fs::read_to_string(PROFILE).unwrap_or_default()).unwrap_or_else(|| {
                "a security module of this host does not allow this user one; run as root, or allow \
                 it user namespaces there (the kernel's log names the rule)"
                    .to_owned()
            }))
        }
        Some(libc::EPERM) => Some(
            "this session may not make one (a system call filter, as around containers, or a changed \
             root directory); run as root, or outside of it"
                .to_owned(),
        ),
        Some(libc::ENOSPC | libc::EUSERS) => Some(
            "there are as many as may be, or nested as deeply; run as root, or raise: sysctl \
             user.max_user_namespaces"
                .to_owned(),
        ),
        _ => None,
    }
}

fn reads(path: &str, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

fn confined(label: &str) -> Option<String> {
    let profile = label.trim().strip_suffix(" (enforce)")?;
    Some(format!(
        "the AppArmor profile {profile}, which this is started under, does not allow user namespaces; \
         run as root, start it from outside of that profile, or add to the profile: userns,"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_enforced_is_named_with_the_rule_it_lacks() {
        let told = confined("shell//nested (enforce)\n").unwrap_or_default();
        assert!(told.contains("profile shell//nested,") && told.contains("userns,"), "{told}");
    }

    #[test]
    fn what_apparmor_does_not_confine_is_not_blamed_on_it() {
        for label in ["unconfined\n", "supervisord (unconfined)\n", "shell (complain)\n", ""] {
            assert_eq!(confined(label), None, "{label}");
        }
    }
}
