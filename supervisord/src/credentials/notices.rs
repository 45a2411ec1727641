//! What becomes of credentials, for the journal, the audit log and whoever follows.

use supervisor_api::{CredentialUse, Ruling, Subject, Verdict, What};
use supervisor_egress::Identity;
use supervisor_egress::credential::{CredentialName, Notice, Notices, RefusalCode};
use tokio::sync::broadcast;

use crate::audit::Audit;

/// Tells all of them.
#[derive(Debug)]
pub struct Told {
    audit: Audit,
    changes: broadcast::Sender<CredentialName>,
}

impl Told {
    /// For this log, and those who follow.
    pub fn new(audit: Audit, changes: broadcast::Sender<CredentialName>) -> Self {
        Self { audit, changes }
    }
}

/// A record of something that an administrator has done with a credential.
pub fn administered(credential: &CredentialName, act: &str, by: u32) -> What {
    let ruling = Ruling::new(Verdict::Allow, act);
    let (act, credential) = (act.to_owned(), credential.to_string());
    What::Credential(CredentialUse { ruling, credential, act, host: None, by: Some(by) })
}

impl Notices for Told {
    fn notice(&self, notice: &Notice) {
        let (ruling, credential, whose) = match notice {
            Notice::Renewed { credential, whose } => {
                tracing::info!(%credential, "a credential has a new value");
                (Ruling::new(Verdict::Allow, "credential_renewed"), credential, whose)
            }
            Notice::Failed { credential, whose, cause } => {
                tracing::warn!(%credential, %cause, "a credential's source has failed");
                let ruling = Ruling {
                    cause: Some(cause.clone()),
                    remedy: Some("correct its source; it is asked again when needed".to_owned()),
                    ..Ruling::new(Verdict::Deny, "credential_source_failed")
                };
                (ruling, credential, whose)
            }
        };
        drop(self.changes.send(credential.clone())); // nobody need be following
        let (act, credential) = ("refresh".to_owned(), credential.to_string());
        let what =
            What::Credential(CredentialUse { ruling, credential, act, host: None, by: None });
        let Identity { session, execution, uid } = whose;
        let (session, execution) = (session.parse().ok(), execution.parse().ok());
        self.audit.note(what.about(Subject { session, execution, uid: Some(*uid) }));
    }
}

/// What a refusal is about that names no credential.
pub fn nameless(code: RefusalCode) -> &'static str {
    if code == RefusalCode::Canary { "a decoy" } else { "a placeholder" }
}
