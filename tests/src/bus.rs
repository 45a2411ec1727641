//! A system bus of a test's own: dbus-daemon with the distribution's rules and ours, and polkit's real
//! authority where a test wants one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::wait::until_true;
use crate::{AGENT, DAEMON, OTHER_AGENT, World, until};

/// The user that the test's polkit rule makes an administrator.
pub const BUS_ADMIN: u32 = 2003;

/// A user of the host who is not in the users' group.
pub const STRANGER: u32 = 2004;

/// The gid of the users' group. The bus takes the groups that the kernel tells of a connection.
const USERS: u32 = 2900;

/// The distribution's own configuration of the system bus.
const SYSTEM_CONFIGURATION: &str = "/usr/share/dbus-1/system.conf";

/// Polkit's own part of it.
const POLKIT_CONFIGURATION: &str = "/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf";

/// What is installed with the supervisor.
const POLICY: &str = include_str!("../../systemd/dbus/org.supervisord.Supervisor1.conf");
const ACTIONS: &str = include_str!("../../systemd/polkit/org.supervisord.Supervisor1.policy");

/// Runs the bus's programs where the accounts are those of an installed host, and where polkit has no
/// actions and rules but ours; nobody else sees any of it.
const AS_INSTALLED: &str = "mount --bind \"$0/passwd\" /etc/passwd &&
    mount --bind \"$0/group\" /etc/group &&
    mount --bind \"$0/actions\" /usr/share/polkit-1/actions &&
    mount --bind \"$0/rules\" /etc/polkit-1/rules.d && exec \"$@\"";

/// What of the distribution's configuration is not for a private bus.
const NOT_OURS: [&str; 8] = [
    "<user>",
    "<fork/>",
    "<standard_system_servicedirs/>",
    "<servicehelper>",
    "<pidfile>",
    "<syslog/>",
    "<include",
    "<listen>",
];

/// A bus that runs.
#[derive(Debug)]
pub struct Bus {
    directory: TempDir,
    daemon: Child,
    polkit: Option<Child>,
}

impl Bus {
    /// A bus without polkit.
    #[track_caller]
    pub fn open() -> Self {
        let directory = tempfile::Builder::new().prefix("supervisor-test-bus-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let configuration = directory.path().join("bus.conf");
        fs::write(&configuration, self::configuration(directory.path())).unwrap();
        lay_out(directory.path());
        let daemon = start(directory.path());
        let bus = Self { directory, daemon, polkit: None };
        bus.wait();
        bus
    }

    /// A bus with polkit, whose one rule makes [`BUS_ADMIN`] an administrator of the supervisor.
    #[track_caller]
    pub fn with_polkit() -> Self {
        let mut bus = Self::open();
        bus.polkit = Some(start_polkit(&bus));
        let name = "org.freedesktop.PolicyKit1";
        until_true("polkit is on the bus", || {
            let polkit = bus.polkit.as_mut().expect("it was started");
            assert!(matches!(polkit.try_wait(), Ok(None)), "polkit has ended");
            bus.owner(name).is_some()
        });
        bus
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.directory.path().join("bus.sock").display())
    }

    /// Waits until the supervisor is on it.
    #[track_caller]
    pub fn wait_for_supervisor(&self) {
        until_true("the supervisor is on the bus", || {
            self.owner("org.supervisord.Supervisor1").is_some()
        });
    }

    /// Ends the bus and everybody's connection to it.
    pub fn stop(&mut self) {
        self.daemon.kill().expect("a child can be ended");
        self.daemon.wait().expect("a child can be waited for");
    }

    /// Starts it again at the same address.
    #[track_caller]
    pub fn start(&mut self) {
        self.daemon = start(self.directory.path());
        self.wait();
    }

    /// A program as this user, with the bus as its system bus.
    pub fn command(&self, uid: u32, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        let groups = match uid {
            AGENT | OTHER_AGENT | BUS_ADMIN => format!("--groups={USERS}"),
            _ => "--clear-groups".to_owned(),
        };
        command.args([format!("--reuid={uid}"), format!("--regid={uid}"), groups]);
        command.arg(program).current_dir("/").stdin(Stdio::null());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.address());
        command
    }

    /// What busctl says to a user of the supervisor.
    #[track_caller]
    pub fn busctl(&self, uid: u32, arguments: &[&str]) -> Output {
        let mut command = self.command(uid, "busctl");
        command.arg(format!("--address={}", self.address()));
        command.arg("--timeout=150").args(arguments); // what is recorded waits for the disk
        command.output().expect("busctl is installed")
    }

    /// Calls the manager with busctl, which must go well; the answer as busctl's JSON.
    #[track_caller]
    pub fn call(&self, uid: u32, method: &str, arguments: &[&str]) -> serde_json::Value {
        let output = self.try_call(uid, method, arguments);
        assert!(output.status.success(), "{method}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() {
            return serde_json::Value::Null;
        }
        let mut answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["data"].take()
    }

    /// Calls the manager with busctl.
    #[track_caller]
    pub fn try_call(&self, uid: u32, method: &str, arguments: &[&str]) -> Output {
        let target = [
            "--json=short",
            "--",
            "call",
            "org.supervisord.Supervisor1",
            "/org/supervisord/Supervisor1",
            "org.supervisord.Supervisor1.Manager",
            method,
        ];
        self.busctl(uid, &[&target, arguments].concat())
    }

    /// What it says when a call of the manager is refused.
    #[track_caller]
    pub fn refusal(&self, uid: u32, method: &str, arguments: &[&str]) -> String {
        let output = self.try_call(uid, method, arguments);
        assert!(!output.status.success(), "{method} was done for {uid}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a client written in Python with the library jeepney.
    #[track_caller]
    pub fn python(&self, uid: u32, source: &str, arguments: &[&str]) -> String {
        let mut command = self.command(uid, "/usr/bin/python3");
        let output = command.args(["-c", source]).args(arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the client failed:\n{words}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn owner(&self, name: &str) -> Option<String> {
        let bus = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"];
        let output = self.busctl(0, &[&["call"], &bus[..], &["GetNameOwner", "s", name]].concat());
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait(&self) {
        until("the bus answers", || self.owner("org.freedesktop.DBus"));
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        for child in [self.polkit.as_mut(), Some(&mut self.daemon)].into_iter().flatten() {
            child.kill().ok(); // it may have ended by itself
            child.wait().ok();
        }
    }
}

/// A supervisor on a bus.
#[track_caller]
pub fn on_bus(bus: &Bus) -> World {
    let settings = crate::Settings { dbus: bus.address(), ..crate::Settings::default() };
    let world = World::with(settings);
    bus.wait_for_supervisor();
    world
}

/// The distribution's configuration with ours.
fn configuration(directory: &Path) -> String {
    let system = fs::read_to_string(SYSTEM_CONFIGURATION).expect("dbus-daemon is installed");
    let kept = system.lines().filter(|line| !NOT_OURS.iter().any(|tag| line.contains(tag)));
    let kept: Vec<&str> = kept.collect();
    let path = directory.join("supervisord.conf");
    fs::write(&path, POLICY).unwrap();
    let listen = format!("<listen>unix:path={}</listen>", directory.join("bus.sock").display());
    let include = |path: &Path| format!("<include>{}</include>", path.display());
    let ours = [listen, include(&path), include(Path::new(POLKIT_CONFIGURATION))].join("\n");
    kept.join("\n").replace("</busconfig>", &format!("{ours}\n</busconfig>"))
}

/// Accounts, actions and one rule.
fn lay_out(directory: &Path) {
    let write = |name: &str, text: String| fs::write(directory.join(name), text).unwrap();
    let (mut passwd, mut group) =
        (fs::read_to_string("/etc/passwd").unwrap(), fs::read_to_string("/etc/group").unwrap());
    let users = [AGENT, OTHER_AGENT, BUS_ADMIN];
    for (name, id) in [("supervisord".to_owned(), DAEMON)]
        .into_iter()
        .chain(users.iter().chain([&STRANGER]).map(|id| (format!("user{id}"), *id)))
    {
        passwd.push_str(&format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n"));
        group.push_str(&format!("{name}:x:{id}:\n"));
    }
    let members = users.map(|id| format!("user{id}")).join(",");
    group.push_str(&format!("supervisord-agents:x:{USERS}:{members}\n"));
    write("passwd", passwd);
    write("group", group);
    for name in ["actions", "rules"] {
        fs::create_dir(directory.join(name)).unwrap();
    }
    write("actions/org.supervisord.Supervisor1.policy", ACTIONS.to_owned());
    let rule = format!(
        "polkit.addRule(function(action, subject) {{
             if (action.id.indexOf('org.supervisord.Supervisor1.') == 0 &&
                 subject.user == 'user{BUS_ADMIN}') return polkit.Result.YES;
         }});"
    );
    write("rules/50-test.rules", rule);
}

/// A program of the bus's, where only our accounts, actions and rules are installed.
fn as_installed(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", AS_INSTALLED]).arg(directory).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn start(directory: &Path) -> Child {
    fs::remove_file(directory.join("bus.sock")).ok(); // one that was ended leaves it
    let file = format!("--config-file={}", directory.join("bus.conf").display());
    let words = ["dbus-daemon", &file, "--nofork", "--nopidfile", "--nosyslog"];
    as_installed(directory, &words).spawn().expect("unshare is installed")
}

/// The real authority.
fn start_polkit(bus: &Bus) -> Child {
    let words = ["/usr/lib/polkit-1/polkitd", "--no-debug"];
    let mut command = as_installed(bus.directory.path(), &words);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    command.spawn().expect("unshare is installed")
}
