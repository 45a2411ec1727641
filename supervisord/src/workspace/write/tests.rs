use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::umask;
use proptest::prelude::*;
use supervisor_api::Content;

use super::*;
use crate::alone::in_a_mount_namespace_of_its_own;
use crate::workspace::testing::{Fixture, as_ordinary_user, names};

fn input(path: &str, content: impl AsRef<[u8]>) -> InputFile {
    let content = Content(content.as_ref().to_vec());
    InputFile { path: path.to_owned(), content, executable: false }
}

fn write(fixture: &Fixture, paths: &[&str]) -> Result<(), WriteFilesError> {
    let files: Vec<_> = paths.iter().map(|path| input(path, "data")).collect();
    write_files(fixture.root().as_fd(), &files)
}

#[test]
fn an_uploaded_file_lands_in_the_workspace_exactly_as_spelt() {
    let fixture = Fixture::new();
    let paths = [
        "a",
        "\\..\\x",
        "C:\\x",
        "~/x",
        ".supervisor/x",
        "proc/1/mem",
        "\u{2025}/x",
        "%2e%2e/x",
        "deep/er/than/that",
        "deep/er/and/that",
    ];
    write(&fixture, &paths).unwrap();
    for path in paths {
        assert_eq!(fs::read(fixture.at(path)).unwrap(), b"data", "{path}");
    }
    fixture.assert_outside_untouched();
}

#[test]
fn an_uploaded_file_is_plain_or_executable_and_nothing_else() {
    let fixture = Fixture::new();
    let files =
        [input("bin/plain", "x"), InputFile { executable: true, ..input("bin/program", "x") }];
    let before = umask(Mode::from_bits_truncate(0o077));
    write_files(fixture.root().as_fd(), &files).unwrap();
    umask(before);
    for (path, mode) in [("bin", 0o755), ("bin/plain", 0o644), ("bin/program", 0o755)] {
        assert_eq!(fixture.mode_of(path), mode, "{path}");
    }
}

#[test]
fn files_that_cannot_be_written_together_are_refused_before_one_is_written() {
    let many = vec!["a"; MAX_FILES + 1];
    for (paths, field, refusal) in [
        (&["a", "../x"][..], "files[1].path", "`..`"),
        (&["a", "b", "a"], "files[2].path", "files[0].path again"),
        (&["a/b/c", "x", "a"], "files[0].path", "where files[2].path puts a file"),
        (&["a/b", "a/b/c/d"], "files[1].path", "where files[0].path puts a file"),
        (&many, "files", "1025 files"),
    ] {
        let fixture = Fixture::new();
        let refused = write(&fixture, paths).unwrap_err();
        assert_eq!(refused.field(), field);
        assert!(refused.to_string().contains(refusal), "{refused}");
        assert_eq!(names(&fixture.at("")).len(), 0);
    }
}

#[test]
fn a_link_that_an_earlier_payload_planted_is_not_followed() {
    let fixture = Fixture::new();
    fixture.file("sub/file", "old");
    symlink(fixture.outside(), fixture.at("link-to-root")).unwrap();
    symlink("..", fixture.at("sub/up")).unwrap();
    symlink(fixture.outside().join("new"), fixture.at("dangling")).unwrap();
    symlink(fixture.canary(), fixture.at("to-canary")).unwrap();
    symlink("/proc/self/cwd", fixture.at("magic")).unwrap();
    for path in ["link-to-root/x", "sub/up/x", "magic/x", "sub/file/x"] {
        let refused = write(&fixture, &[path]).unwrap_err();
        assert!(matches!(refused, WriteFilesError::NotADirectory { index: 0 }), "{refused:?}");
        assert_eq!(refused.field(), "files[0].path");
    }
    for path in ["link-to-root", "dangling", "to-canary", "sub/file", "sub"] {
        let refused = write(&fixture, &[path]).unwrap_err();
        assert!(matches!(refused, WriteFilesError::Occupied { index: 0 }), "{refused:?}");
    }
    assert_eq!(fs::read(fixture.at("sub/file")).unwrap(), b"old");
    fixture.assert_outside_untouched();
}

#[test]
fn a_directory_that_an_earlier_payload_left_unlisted_can_still_be_written_in() {
    let fixture = as_ordinary_user(|| {
        let fixture = Fixture::new();
        fixture.file("d/old", "old");
        fixture.set_mode("d", 0o300);
        write(&fixture, &["d/new"]).unwrap();
        fixture.set_mode("d", 0o000);
        let refused = write(&fixture, &["x", "d/new2"]).unwrap_err();
        assert!(matches!(refused, WriteFilesError::System { index: 1, .. }), "{refused:?}");
        assert_eq!(refused.to_string(), "creating files[1] failed");
        assert_eq!(fixture.mode_of("d"), 0);
        fixture.set_mode("d", 0o700);
        fixture
    });
    assert_eq!(fs::read(fixture.at("d/new")).unwrap(), b"data");
}

#[test]
fn a_full_workspace_is_reported_as_the_limit_that_is_reached() {
    const OWN: &str =
        "workspace::write::tests::a_full_workspace_is_reported_as_the_limit_that_is_reached";
    let Some(_) = in_a_mount_namespace_of_its_own(OWN) else { return };
    for (options, content, index, limit) in [
        ("size=64k", vec![b'x'; 60_000], 1, Limit::WorkspaceBytes),
        ("size=64k,nr_inodes=4", vec![], 3, Limit::WorkspaceInodes),
    ] {
        let fixture = Fixture::new();
        let at = &fixture.at("");
        mount(Some("workspace"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        let files: Vec<_> = (0..9).map(|name| input(&name.to_string(), &content)).collect();
        let refused = write_files(fixture.root().as_fd(), &files).unwrap_err();
        umount2(at, MntFlags::MNT_DETACH).unwrap();
        assert_eq!(refused.field(), format!("files[{index}]"));
        match refused {
            WriteFilesError::Full { limit: reached, .. } => assert_eq!(reached, limit),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_accepted_path_leads_outside_whatever_links_are_planted(
        plants in prop::collection::vec(("[ab](/[ab]){0,2}", 0..6_usize), 0..6),
        paths in prop::collection::vec("[ab./]{1,8}|[ab](/[ab]){0,3}|\\PC{1,20}", 1..4),
    ) {
        let fixture = Fixture::new();
        let outside = fixture.outside();
        let targets = [outside.to_str().unwrap(), "..", "../../outside", "../..", ".", "a"];
        for (plant, target) in plants {
            fixture.plant(&plant, targets[target]);
        }
        for path in &paths {
            if write(&fixture, &[path]).is_ok() {
                let mut at = fixture.at("");
                for component in path.split('/') {
                    at.push(component);
                    prop_assert!(!fs::symlink_metadata(&at).unwrap().is_symlink());
                }
                prop_assert_eq!(fs::read(&at).unwrap(), b"data");
            }
        }
        fixture.assert_outside_untouched();
    }
}
