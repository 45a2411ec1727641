//! Completions and manual pages.

use crate::fake::Fake;

#[test]
fn every_shell_has_its_completions_and_every_command_its_manual_page() {
    let fake = Fake::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = fake.ctl(&["completions", shell]);
        assert_eq!(ended.status, Some(0), "{shell}");
        assert!(ended.stdout.contains("artifacts-to"), "{shell}");
    }
    assert!(fake.ctl(&["man"]).stdout.contains(".TH supervisorctl"));
    assert_eq!(fake.ctl(&["man", "--to", "pages"]).status, Some(0));
    let pages = fake.directory().join("pages");
    for name in ["supervisorctl", "supervisorctl-run", "supervisorctl-artifacts-get"] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect("a page");
        assert!(page.contains(".SH NAME"), "{name}");
    }
}
