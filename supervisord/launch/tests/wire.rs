//! The wire forms: what was sent is what is read, and whatever else comes is refused, not believed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{
    Applied, Ended, Image, Input, Kept, Listeners, MAX_LISTED, MAX_MESSAGE, MAX_PORTS, MAX_START,
    OLDEST, Prepare, Reply, Report, Request, SandboxLimits, Setup, Start, Step, Storage, VERSION,
    Workspace,
};

fn limits() -> impl Strategy<Value = SandboxLimits> {
    vec(any::<u64>(), 13).prop_map(|field| SandboxLimits {
        memory_max: field[0],
        pids_max: field[1],
        cpu_max: field[2],
        cpu_time: field[3],
        open_files: field[4],
        workspace_bytes: field[5],
        workspace_inodes: field[6],
        tmp_bytes: field[7],
        tmp_inodes: field[8],
        io_read_bps: field[9],
        io_write_bps: field[10],
        io_read_iops: field[11],
        io_write_iops: field[12],
    })
}

fn listeners() -> impl Strategy<Value = Option<Listeners>> {
    let ports = prop::collection::btree_set(1024..3000u16, 0..=MAX_PORTS);
    prop::option::of(ports.prop_map(|ports| {
        Listeners::new(&ports.into_iter().collect::<Vec<_>>()).expect("distinct and not given")
    }))
}

fn profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(Profile::PAYLOAD.to_vec())
}

fn workspace() -> impl Strategy<Value = Workspace> {
    prop_oneof![
        Just(Workspace::Memory),
        Just(Workspace::Disk),
        any::<u128>().prop_map(Workspace::Kept)
    ]
}

fn storage() -> impl Strategy<Value = Storage> {
    prop::sample::select(vec![Storage::Memory, Storage::Quota, Storage::Image])
}

fn kept() -> impl Strategy<Value = Kept> {
    let fields = (any::<u128>(), any::<u32>(), any::<u64>(), any::<u64>());
    fields.prop_map(|(id, owner, bytes, inodes)| Kept { id, owner, bytes, inodes })
}

fn image() -> impl Strategy<Value = Image> {
    prop_oneof![Just(Image::Default), any::<[u8; 32]>().prop_map(Image::Imported)]
}

fn prepare() -> impl Strategy<Value = Prepare> {
    let first = (any::<u128>(), image(), profile(), any::<bool>(), any::<u8>(), limits());
    let size = (any::<u16>(), any::<u16>());
    let input = prop_oneof![
        Just(Input::Given),
        Just(Input::Open),
        size.prop_map(|(rows, columns)| Input::Terminal { rows, columns }),
    ];
    let second = (any::<Option<u32>>(), workspace(), listeners(), any::<[bool; 3]>(), input);
    (first, second).prop_map(|(first, (owner, workspace, listeners, flags, input))| {
        let [channel, writable_root, pseudo_terminals] = flags;
        let (execution, image, profile, exec, landlock, limits) = first;
        Prepare {
            execution,
            image,
            profile,
            exec,
            landlock,
            limits,
            owner,
            workspace,
            listeners,
            channel,
            input,
            writable_root,
            pseudo_terminals,
        }
    })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        prepare().prop_map(Request::Prepare),
        any::<u128>().prop_map(|execution| Request::Adopt { execution }),
        any::<u128>().prop_map(|execution| Request::Destroy { execution }),
        Just(Request::List),
        kept().prop_map(Request::MakeWorkspace),
        any::<u128>().prop_map(|id| Request::RemoveWorkspace { id }),
        any::<u128>().prop_map(|from| Request::ListWorkspaces { from }),
        any::<u128>().prop_map(|id| Request::Grant { id }),
        any::<u128>().prop_map(|execution| Request::CloseInput { execution }),
        any::<[u8; 32]>().prop_map(|key| Request::FindImage { key }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::ALL.to_vec())
}

fn reply() -> impl Strategy<Value = Reply> {
    let applied = (any::<u8>(), any::<bool>(), any::<u32>(), storage(), storage(), any::<u8>())
        .prop_map(|(controllers, separate_ids, descriptors, workspace, disk, exposed)| Applied {
            controllers,
            separate_ids,
            descriptors,
            workspace,
            disk,
            exposed,
        });
    prop_oneof![
        (any::<u128>(), applied)
            .prop_map(|(execution, applied)| Reply::Prepared { execution, applied }),
        any::<u128>().prop_map(|execution| Reply::Destroyed { execution }),
        vec(any::<u128>(), 0..1024).prop_map(|executions| Reply::List { executions }),
        any::<u128>().prop_map(|id| Reply::WorkspaceMade { id }),
        any::<u128>().prop_map(|id| Reply::WorkspaceRemoved { id }),
        vec(kept(), 0..=MAX_LISTED).prop_map(|kept| Reply::Workspaces { kept }),
        any::<u128>().prop_map(|id| Reply::Granted { id }),
        any::<u128>().prop_map(|execution| Reply::InputClosed { execution }),
        any::<[u8; 32]>().prop_map(|id| Reply::ImageFound { id }),
        (any::<u128>(), step(), any::<i32>()).prop_map(|(execution, step, errno)| Reply::Failed {
            execution,
            step,
            errno
        }),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let ended =
        prop_oneof![any::<u8>().prop_map(Ended::Exited), any::<u8>().prop_map(Ended::Signaled)];
    prop_oneof![
        any::<u8>().prop_map(|landlock| Report::Ready { landlock }),
        (step(), any::<i32>()).prop_map(|(step, errno)| Report::Failed { step, errno }),
        (ended, any::<u64>(), any::<u64>()).prop_map(|(status, max_rss, cpu)| Report::Ended {
            status,
            max_rss,
            cpu
        }),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..40)
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_sent(request in request()) {
        let bytes = request.encode(VERSION).expect("our own version");
        prop_assert!(bytes.len() <= MAX_MESSAGE);
        prop_assert_eq!(Request::decode(&bytes), Ok((VERSION, request)));
    }

    #[test]
    fn a_reply_is_read_as_it_was_sent_and_fits_its_bound(reply in reply()) {
        let bytes = reply.encode(VERSION).expect("our own version");
        prop_assert!(bytes.len() <= MAX_MESSAGE);
        prop_assert_eq!(Reply::decode(&bytes), Ok((VERSION, reply)));
    }

    #[test]
    fn a_report_is_read_as_it_was_sent(report in report()) {
        prop_assert_eq!(Report::decode(&report.encode()), Ok(report));
    }

    #[test]
    fn a_start_is_read_as_it_was_sent(
        cwd in text(), argv in vec(text(), 1..8), environment in vec(text(), 0..8), authority in text(),
        parks in prop::option::of(vec(1u8.., 1..40)),
    ) {
        let start = Start { cwd, argv, environment, authority, parks };
        let bytes = start.encode().expect("within the bound");
        let head = [bytes[0], bytes[1], bytes[2], bytes[3]];
        prop_assert_eq!(Start::length(head), Ok(bytes.len()));
        prop_assert_eq!(Start::decode(&bytes), Ok(start));
    }

    #[test]
    fn no_bytes_make_a_reader_panic_or_be_read_as_what_they_are_not(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok((version, request)) = Request::decode(&bytes) {
            prop_assert_eq!(request.encode(version), Ok(bytes.clone()));
        }
        if let Ok((version, reply)) = Reply::decode(&bytes) {
            prop_assert_eq!(reply.encode(version), Ok(bytes.clone()));
        }
        if let Ok(start) = Start::decode(&bytes) {
            prop_assert_eq!(start.encode(), Ok(bytes.clone()));
        }
        if let Ok(setup) = Setup::decode(&bytes) {
            prop_assert_eq!(setup.encode(), bytes);
        }
    }

    #[test]
    fn a_message_that_was_cut_or_lengthened_is_refused(request in request(), reply in reply(), cut in 1usize..20) {
        let bytes = request.encode(VERSION).expect("our own version");
        let short = bytes.len().saturating_sub(cut);
        prop_assert!(Request::decode(&bytes[..short]).is_err());
        prop_assert!(Request::decode(&[bytes, vec![0; cut]].concat()).is_err());
        let bytes = reply.encode(VERSION).expect("our own version");
        let short = bytes.len().saturating_sub(cut);
        prop_assert!(Reply::decode(&bytes[..short]).is_err());
        prop_assert!(Reply::decode(&[bytes, vec![0; cut]].concat()).is_err());
    }

    #[test]
    fn a_launch_within_the_ceiling_has_no_limit_above_it(asked in limits(), ceiling in limits()) {
        if asked.within(&ceiling) {
            prop_assert!(asked.memory_max <= ceiling.memory_max && asked.memory_max > 0);
            prop_assert!(asked.pids_max <= ceiling.pids_max && asked.pids_max > 0);
            prop_assert!(ceiling.io_read_bps == 0 || (1..=ceiling.io_read_bps).contains(&asked.io_read_bps));
        }
        prop_assert!(!SandboxLimits::default().within(&ceiling));
    }
}

#[test]
fn a_version_that_is_not_spoken_is_refused() {
    for version in [OLDEST - 1, VERSION + 1, u16::MAX] {
        let mut bytes = Request::List.encode(VERSION).expect("our own version");
        bytes[..2].copy_from_slice(&version.to_le_bytes());
        assert!(Request::decode(&bytes).is_err());
        assert!(Request::List.encode(version).is_err());
    }
}

/// The bytes are those of the release before, laid out by hand.
#[test]
fn version_2_is_spoken_as_its_release_did() {
    let limits = SandboxLimits { memory_max: 7, io_write_iops: 9, ..SandboxLimits::default() };
    let mut bytes = vec![2, 0, 1];
    bytes.extend(5u128.to_le_bytes());
    bytes.extend([0, 0, 1, 1, 6]); // image, profile, exec, landlock
    bytes.extend([7u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9].map(u64::to_le_bytes).concat());
    bytes.extend([1, 0xe8, 3, 0, 0]); // an owner, 1000
    bytes.push(2); // a kept workspace, and its id
    bytes.extend(6u128.to_le_bytes());
    bytes.push(1); // listeners, and the ports besides those that are there anyway
    bytes.extend([25u16, 0, 0, 0, 0, 0, 0, 0].map(u16::to_le_bytes).concat());
    let prepare = Prepare {
        execution: 5,
        image: Image::Default,
        profile: Profile::Default,
        exec: true,
        landlock: 6,
        limits,
        owner: Some(1000),
        workspace: Workspace::Kept(6),
        listeners: Listeners::new(&[25]),
        channel: false,
        input: Input::Given,
        writable_root: false,
        pseudo_terminals: false,
    };
    assert_eq!(Request::decode(&bytes), Ok((2, Request::Prepare(prepare))));
    assert_eq!(Request::Prepare(prepare).encode(2), Ok(bytes));
    let with_channel = Prepare { channel: true, ..prepare };
    assert!(Request::Prepare(with_channel).encode(2).is_err(), "version 2 has no word for it");
    assert!(Request::Prepare(Prepare { input: Input::Open, ..prepare }).encode(2).is_err());
    assert!(Request::CloseInput { execution: 5 }.encode(2).is_err());
    assert!(Request::Prepare(Prepare { writable_root: true, ..prepare }).encode(2).is_err());
    assert!(Request::Prepare(Prepare { pseudo_terminals: true, ..prepare }).encode(2).is_err());

    // What version 3 brought is not said in it.
    let imported = Prepare { image: Image::Imported([7; 32]), ..prepare };
    assert!(Request::Prepare(imported).encode(2).is_err());
    assert!(Request::FindImage { key: [7; 32] }.encode(2).is_err());
    let mut unknown = Request::FindImage { key: [7; 32] }.encode(3).expect("our own version");
    unknown[0] = 2;
    assert!(Request::decode(&unknown).is_err());

    let applied = Applied {
        controllers: 3,
        separate_ids: true,
        descriptors: 0x7ff,
        workspace: Storage::Quota,
        disk: Storage::Image,
        exposed: 0,
    };
    let reply = Reply::Prepared { execution: 5, applied };
    let mut bytes = vec![2, 0, 1];
    bytes.extend(5u128.to_le_bytes());
    bytes.extend([3, 1, 0xff, 7, 0, 0, 1, 2]);
    assert_eq!(reply.encode(2), Ok(bytes.clone()));
    assert_eq!(Reply::decode(&bytes), Ok((2, reply)));
}

#[test]
fn a_start_that_holds_nul_or_is_over_its_bound_is_not_sent() {
    let start = |argv: Vec<Vec<u8>>| Start { argv, ..Start::default() }.encode();
    assert!(start(vec![b"a\0b".to_vec()]).is_err());
    assert!(start(vec![vec![b'a'; MAX_START]]).is_err());
    assert!(start(Vec::new()).is_err());
    let parks = Some(Vec::new());
    assert!(Start { argv: vec![b"a".to_vec()], parks, ..Start::default() }.encode().is_err());
}

#[test]
fn a_port_is_asked_for_once_and_not_if_it_is_there_anyway() {
    for ports in [[5432, 5432], [0, 5432], [80, 5432], [443, 1], [53, 1], [3128, 1]] {
        assert_eq!(Listeners::new(&ports), None, "{ports:?}");
    }
    let many: Vec<u16> = (5000..=5000 + MAX_PORTS as u16).collect();
    assert_eq!(Listeners::new(&many), None);
    let ports = Listeners::new(&[5432, 25]).expect("both are free");
    assert_eq!(ports.ports().collect::<Vec<_>>(), [5432, 25]);
}
