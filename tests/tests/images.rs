//! Images that root imports: from what other tools write, and never from what an archive makes up; and
//! programs of theirs in a sandbox.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

#[path = "images/parked.rs"]
mod parked;
#[path = "images/writable.rs"]
mod writable;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use supervisor_api::{ErrorCode, SubmitRequest};
use supervisor_tests::{Settings, World, argv, program};
use tempfile::TempDir;

/// A store of a test's own, and archives to import.
struct Store {
    directory: TempDir,
    images: PathBuf,
}

impl Store {
    /// An empty one.
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("supervisor-test-").tempdir().unwrap();
        let images = directory.path().join("images");
        Self::at(directory, images)
    }

    /// That of a supervisor.
    fn of(world: &World) -> Self {
        let directory = tempfile::Builder::new().prefix("supervisor-test-").tempdir().unwrap();
        Self::at(directory, world.images())
    }

    fn at(directory: TempDir, images: PathBuf) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images/archives.py");
        let made = Command::new("/usr/bin/python3").arg(script).arg(directory.path()).output();
        let made = made.expect("python3 runs");
        let words = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "busybox-static has to be installed: {words}");
        Self { directory, images }
    }

    fn archive(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs a command on it.
    fn image(&self, words: &[&str]) -> Result<Value, Value> {
        let mut command = Command::new(program("supervisorctl"));
        command.arg("image").args(words).arg("--images").arg(&self.images).arg("--json");
        let told = command.output().expect("supervisorctl runs");
        let text = String::from_utf8_lossy(&told.stdout);
        let told_words = String::from_utf8_lossy(&told.stderr);
        let said = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
        let said: Value = said.unwrap_or_else(|| panic!("{words:?}: {text}{told_words}"));
        if told.status.success() { Ok(said) } else { Err(said) }
    }

    #[track_caller]
    fn import(&self, archive: &str, more: &[&str]) -> Value {
        let path = self.archive(archive);
        let words = [&["import", path.as_str()], more].concat();
        self.image(&words).unwrap_or_else(|error| panic!("{archive}: {error}"))
    }

    #[track_caller]
    fn refuses(&self, archive: &str, more: &[&str], why: &str) {
        let path = self.archive(archive);
        let words = [&["import", path.as_str()], more].concat();
        let refusal = self.image(&words).expect_err(archive);
        let detail = refusal["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(why), "{archive}: {refusal}");
        assert_eq!(refusal["error"]["code"], "archive_refused", "{refusal}");
        assert_eq!(fs::read_dir(self.images.join("work")).unwrap().count(), 0, "{archive}");
    }

    fn tree(&self, image: &Value) -> PathBuf {
        let digits = image["id"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        self.images.join("sha256").join(digits).join("tree")
    }
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn what_other_tools_write_is_one_image_whatever_the_layout() {
    let store = Store::new();
    let docker = store.import("docker.tar", &["--name", "box:1"]);
    assert_eq!(
        (&docker["new"], &docker["format"], &docker["layers"]),
        (&true.into(), &"docker".into(), &2.into())
    );
    assert_eq!(docker["references"][0], "example/box:1");
    for (archive, digests) in
        [("docker-linked.tar", 3), ("oci.tar", 6), ("oci.tar.gz", 6), ("oci", 6)]
    {
        let same = store.import(archive, &[]);
        assert_eq!((&same["id"], &same["new"]), (&docker["id"], &false.into()), "{archive}");
        assert_eq!(same["verified_digests"], digests, "{archive}");
    }
    let tree = store.tree(&docker);
    assert!(!tree.join("opt/gone").exists());
    assert!(!tree.join("opt/.wh.gone").exists());
    assert_eq!(text(tree.join("etc/release")), "the second layer\n");
    let of = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    assert_eq!(of("bin/busybox").ino(), of("bin/sh").ino());
    assert_eq!(of("bin/busybox").mode() & 0o7777, 0o755);
    assert_eq!(of("bin/busybox").uid(), 0x7ffe_0000);
    assert!(!of("dev").is_symlink() && fs::read_dir(tree.join("dev")).unwrap().count() == 0);
    assert_eq!(docker["dropped_counts"]["the set-user-id bit"], 1);
    assert_eq!(docker["dropped_counts"]["a device"], 1);
    let shown = store.image(&["show", "box:1"]).unwrap();
    assert_eq!(shown["unpacked"]["config"]["environment"][1], "FROM=the image");
    assert_eq!(shown["id"], docker["id"]);
}

/// What skopeo makes of an archive is what it was.
#[test]
fn what_skopeo_and_umoci_write_is_imported() {
    let store = Store::new();
    let ours = store.import("docker.tar", &[]);
    let copy = |to: &str| {
        let source = format!("docker-archive:{}", store.archive("docker.tar"));
        let mut command = Command::new("skopeo");
        command.args(["copy", "--insecure-policy", "--quiet", &source, to]);
        let told = command.output().expect("skopeo has to be installed");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    };
    for kind in ["oci", "oci-archive", "docker-archive", "dir"] {
        let name = format!("skopeo-{kind}");
        let tag = if kind == "dir" { "" } else { ":box:1" };
        copy(&format!("{kind}:{}{tag}", store.archive(&name)));
        assert_eq!(store.import(&name, &[])["id"], ours["id"], "{kind}");
    }
    let layout = store.archive("skopeo-oci");
    let umoci = |words: &[&str]| {
        let told = Command::new("umoci").args(words).output().expect("umoci has to be installed");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    };
    fs::write(store.archive("added"), "by umoci\n").unwrap();
    let image = format!("{layout}:box:1");
    umoci(&["insert", "--image", &image, &store.archive("added"), "/opt/added"]);
    let more = store.import("skopeo-oci", &[]);
    assert_ne!(more["id"], ours["id"]);
    assert_eq!(text(store.tree(&more).join("opt/added")), "by umoci\n");
}

#[test]
fn a_directory_and_its_archive_are_one_image_and_mounts_and_links_are_not_entered() {
    let store = Store::new();
    let root = store.directory.path().join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("usr/bin/tool"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/again")).unwrap();
    symlink("/etc", root.join("outside")).unwrap();
    let tar = |flag: &str, name: &str| {
        let made = Command::new("tar")
            .args(["-C", root.to_str().unwrap(), flag, &store.archive(name), "."])
            .status();
        assert!(made.expect("tar runs").success());
    };
    tar("-cf", "plain.tar");
    tar("-czf", "packed.tar.gz");
    let zstd = Command::new("zstd").args(["-q", &store.archive("plain.tar")]).status();
    assert!(zstd.expect("zstd has to be installed").success());
    let directory = store.import("root", &["--name", "tree"]);
    for archive in ["plain.tar", "packed.tar.gz", "plain.tar.zst"] {
        assert_eq!(store.import(archive, &[])["id"], directory["id"], "{archive}");
    }
    let tree = store.tree(&directory);
    assert_eq!(fs::read_link(tree.join("outside")).unwrap(), Path::new("/etc"));
    assert_eq!(fs::metadata(tree.join("usr/bin/again")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(tree.join("usr/bin/tool")).unwrap().mode() & 0o7777, 0o751);
}

#[test]
fn what_an_archive_makes_up_is_refused_and_leaves_nothing() {
    let store = Store::new();
    store.refuses("wrong-layer.tar", &[], "layer 2: its digest is to be");
    store.refuses("wrong-manifest.tar", &[], "a document is to be");
    store.refuses("wrong-config.tar", &[], "a document is to be");
    store.refuses("bomb.tar.gz", &["--max-bytes", "1M"], "--max-bytes");
    store.refuses("many.tar", &["--max-entries", "1000"], "--max-entries");
    store.refuses("deep.tar", &["--max-entries", "1000"], "--max-entries");
    store.refuses("upwards.tar", &[], "leads upwards");
}

#[test]
fn what_an_archive_calls_things_does_not_reach_a_terminal_as_it_is() {
    let store = Store::new();
    let path = store.archive("escapes.tar");
    let mut command = Command::new(program("supervisorctl"));
    command.args(["image", "import", &path, "--name", "box", "--images"]).arg(&store.images);
    assert!(command.output().unwrap().status.success());
    let shown = Command::new(program("supervisorctl"))
        .args(["image", "show", "box", "--images"])
        .arg(&store.images)
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("a named pipe") && text.contains("title"), "{text}");
    assert!(!shown.stdout.contains(&0x1b) && !shown.stdout.contains(&7), "{text:?}");
}

#[test]
fn what_is_written_through_a_link_of_an_archive_stays_in_the_image() {
    let store = Store::new();
    let through = store.import("through.tar", &[]);
    assert!(!Path::new("/etc/through-a-link").exists());
    assert_eq!(text(store.tree(&through).join("etc/through-a-link")), "x");
}

#[test]
fn a_changed_image_is_found_out_and_made_whole_by_importing_it_again() {
    let store = Store::new();
    let image = store.import("docker.tar", &["--name", "box"]);
    assert_eq!(store.image(&["verify"]).unwrap()["verified"][0]["id"], image["id"]);
    let tool = store.tree(&image).join("opt/tool");
    let before = fs::metadata(&tool).unwrap();
    fs::write(&tool, "#!/bin/sh\necho a fool of the image\n").unwrap();
    assert_eq!(before.len(), fs::metadata(&tool).unwrap().len());
    let damaged = Command::new(program("supervisorctl"))
        .args(["image", "verify", "box", "--images"])
        .arg(&store.images)
        .output()
        .unwrap();
    assert!(!damaged.status.success());
    let words = String::from_utf8_lossy(&damaged.stdout);
    assert!(words.contains("damaged") && words.contains("./opt/tool"), "{words}");
    let again = store.import("docker.tar", &["--name", "box"]);
    assert_eq!(again["id"], image["id"]);
    assert_eq!(store.image(&["verify"]).unwrap()["verified"][0]["id"], image["id"]);
    // What a removal that was cut off has left is in nobody's way.
    let digits = image["id"].as_str().unwrap().trim_start_matches("sha256:");
    fs::create_dir_all(store.images.join(format!("work/gone-{digits}/tree"))).unwrap();
    store.image(&["remove", "box"]).unwrap();
}

#[test]
fn images_without_a_name_are_collected_and_names_move() {
    let store = Store::new();
    let first = store.import("docker.tar", &["--name", "box"]);
    let second = store.import("root.tar", &["--name", "box"]);
    assert_ne!(first["id"], second["id"]);
    // What an import that was cut off has left: one that was killed takes nothing back.
    fs::create_dir_all(store.images.join("work/cut-off/tree")).unwrap();
    let mut command = Command::new(program("supervisorctl"));
    let told = command.args(["image", "gc", "--images"]).arg(&store.images).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.starts_with(first["id"].as_str().unwrap()), "{told}");
    assert!(told.contains("cut off   1 import: what it left is removed\n"), "{told}");
    assert!(told.contains("in use    0 images without a name, which stay\n"), "{told}");
    let collected = store.image(&["gc"]).unwrap();
    assert_eq!(collected["removed"], Value::Array(Vec::new()));
    assert_eq!(collected["unfinished"], 0);
    let left = store.image(&["list"]).unwrap();
    assert_eq!(left["images"].as_array().unwrap().len(), 1);
    assert_eq!(left["images"][0]["names"][0], "box:latest");
    let refusal = store.image(&["show", "other"]).unwrap_err();
    let detail = refusal["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("supervisorctl image import ARCHIVE --name other:latest"), "{detail}");
    store.image(&["remove", "box"]).unwrap();
    assert!(store.image(&["list"]).unwrap()["images"].as_array().unwrap().is_empty());
}

/// A supervisor whose default policy is that of an image.
fn world() -> World {
    world_with("")
}

/// The same with more in its configuration.
fn world_with(tables: &str) -> World {
    let default = include_str!("../../policies/default.toml");
    let boxed = "name = \"boxed\"\nextends = \"default\"\n[filesystem]\nimage = \"box:1\"\n\
                 images = [\"default\", \"other\"]\n";
    let floor = include_str!("../../policies/floor.toml");
    let files = [("default.toml", default), ("floor.toml", floor), ("boxed.toml", boxed)];
    let policies = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    World::with(Settings { policies, tables: tables.to_owned(), ..Settings::default() })
}

fn boxed(words: &[&str]) -> SubmitRequest {
    SubmitRequest { policy: Some("boxed".to_owned()), ..argv(words) }
}

#[test]
fn a_program_of_an_image_runs_in_it_and_the_result_says_which() {
    let world = world();
    let agent = world.agent(4711);
    let refusal = agent.submit(&boxed(&["sh"])).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::ControlMissing);
    assert!(refusal.hint.unwrap_or_default().contains("supervisorctl image import"));
    let store = Store::of(&world);
    let image = store.import("docker.tar", &["--name", "box:1"]);

    let look = "cat /etc/release; /opt/tool; ls /opt; id -u; ls / | cat; cat /etc/hostname
        for place in /etc/release /new /opt/tool /usr; do echo x 2>/dev/null >$place && echo written; done
        echo x > /workspace/x && echo x > /tmp/x && echo x > /var/tmp/y && echo x > /dev/null && ls /tmp";
    let ended = agent.run(&boxed(&["sh", "-c", look]));
    ended.expect_exit(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(
        lines[..4],
        ["the second layer", "a tool of the image", "tool", "1000"],
        "{lines:?}"
    );
    assert!(!lines.contains(&"written") && lines.ends_with(&["sandbox", "x", "y"]), "{lines:?}");
    let named = ended.execution.image.as_ref().expect("the result names the image");
    assert_eq!(
        (named.name.as_str(), Value::from(named.digest.as_str())),
        ("box:1", image["id"].clone())
    );
    let audit = serde_json::to_string(&world.root().audit("kind=submission").unwrap()).unwrap();
    assert!(audit.contains(&named.digest), "{audit}");

    let other =
        SubmitRequest { image: Some("default".to_owned()), ..boxed(&["cat", "/etc/release"]) };
    let ended = agent.run(&other);
    assert!(ended.execution.image.is_none());
    ended.expect_exit(1);
    let never = SubmitRequest { image: Some("stranger".to_owned()), ..boxed(&["sh"]) };
    let refusal = agent.submit(&never).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (ErrorCode::PolicyDenied, Some("image")));
}

/// Init copies the authorities that an image has, before the payload's confinement.
#[test]
fn a_link_of_an_image_does_not_have_init_copy_what_is_not_the_image_s() {
    let default = include_str!("../../policies/default.toml");
    let floor = include_str!("../../policies/floor.toml");
    let linked = "name = \"linked\"\nextends = \"default\"\n[filesystem]\nimage = \"linked\"\n\
                  [[egress]]\nname = \"one\"\nhosts = [\"api.example.com\"]\n";
    let files = [("default.toml", default), ("floor.toml", floor), ("linked.toml", linked)];
    let policies = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let world = World::with(Settings { policies, ..Settings::default() });
    Store::of(&world).import("links.tar", &["--name", "linked"]);
    let look =
        "for word in stack PATH BEGIN; do busybox grep -c $word /run/ca-certificates.crt; done";
    let request = SubmitRequest { policy: Some("linked".to_owned()), ..argv(&["sh", "-c", look]) };
    assert_eq!(world.agent(4711).run(&request).stdout, "0\n0\n1\n");
}

#[test]
fn an_image_that_a_sandbox_has_is_not_removed() {
    let world = world();
    let store = Store::of(&world);
    store.import("docker.tar", &["--name", "box:1"]);
    let agent = world.agent(4711);
    let id = agent.start(&boxed(&["sh", "-c", "echo begun; sleep 600"]));
    agent.wait_for_words(id, "begun");
    let refusal = store.image(&["remove", "box:1"]).unwrap_err();
    assert_eq!(refusal["error"]["code"], "in_use");
    // The name goes over to another image; what runs keeps what it has.
    let other = store.import("root.tar", &["--name", "box:1"]);
    let collected = store.image(&["gc"]).unwrap();
    assert_eq!(collected["in_use"].as_array().unwrap().len(), 1);
    let ended = agent.run(&boxed(&["ls", "/opt"]));
    assert_eq!(ended.stdout, "gone\ntool\n");
    assert_eq!(Value::from(ended.execution.image.unwrap().digest), other["id"]);
    agent.cancel(id).unwrap();
    agent.finished(id);
    let collected = store.image(&["gc"]).unwrap();
    assert_eq!(collected["removed"].as_array().unwrap().len(), 1);
}
